# The everyday commands. `make` alone lists them, by the groups that begin with ##@.
# Set before SHELL: bash warns on each line about a locale that the machine does not have. Ansible does not start with such a locale, or
# with one that is not UTF-8.
export LC_ALL := $(or $(shell locale -a 2>/dev/null | grep -ixE '(c|en_us)\.utf-?8' | head -n 1),$(value LC_ALL))
SHELL := /bin/bash
.DEFAULT_GOAL := help
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/flask-postgres-stack
VENV := .venv
VENV_APP := .venv-app
VENV_BENCH := .venv-bench
VENV_CHECKOV := .venv-checkov
VENV_DOCS := .venv-docs
OUTPUT := test-output
# The longest scenario comes first, so that two jobs end at about the same time.
ROLES := postgres $(filter-out default postgres shared,$(notdir $(wildcard molecule/*)))
# The values are used as they are typed: make expands no `$` in them, and commands read them from the environment, without a shell.
override ARGS := $(value ARGS)
override WHAT := $(or $(value WHAT),all)
override INVENTORY := $(or $(value INVENTORY),inventory/minikube)
override NODES := $(or $(value NODES),1)
override NODE := $(value NODE)
override POD := $(value POD)
export ARGS WHAT INVENTORY NODES NODE POD TO
# Runs a command with ARGS added to its arguments.
RUN := python3 -m stack.run
PLAYBOOK := $(RUN) ansible-playbook -i "$$INVENTORY"
export PATH := $(CURDIR)/$(VENV)/bin:$(value PATH)
export UV_CACHE_DIR := $(CACHE)/uv
export UV_LINK_MODE := hardlink
export PYTHONPATH := $(CURDIR)/src
# Without ANSIBLE_CONFIG, Ansible ignores the ansible.cfg of a folder that others may write to. The variables below, set for another
# project, would replace this project's roles and plugins.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
unexport ANSIBLE_INVENTORY ANSIBLE_ROLES_PATH ANSIBLE_ACTION_PLUGINS ANSIBLE_LOOKUP_PLUGINS ANSIBLE_FILTER_PLUGINS ANSIBLE_CALLBACK_PLUGINS
# Connections to the cluster bypass the user's proxy.
ifneq ($(HTTPS_PROXY)$(HTTP_PROXY)$(ALL_PROXY)$(https_proxy)$(http_proxy)$(all_proxy),)
export NO_PROXY := $(shell python3 src/stack/proxies.py)
export no_proxy := $(NO_PROXY)
endif
# Without compiled files, each task would compile the Kubernetes client again, which takes longer than the task.
unexport PYTHONDONTWRITEBYTECODE
export ANSIBLE_FORCE_COLOR ?= $(if $(MAKE_TERMOUT),$(if $(NO_COLOR),0,1),0)

.PHONY: help deploy render destroy status logs shell psql secrets open report backup restore restore-test update rotate replace-node drill sbom dev test lint test-unit test-policy test-app test-roles test-e2e test-issuer test-docker-driver test-docker-driver-short docker-minikube docker-minikube-down fuzz bench bench-docker-driver bench-rows bench-size dashboards docs
help: ## List these commands
	@echo "Usage: make COMMAND [INVENTORY=inventory/minikube] [ARGS='-e setting=value']"
	@awk -F':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+%?:.*## / {sub("%", "NAME", $$1); printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The last line of a failed installation, below the message of Python, pip or uv.
UNINSTALLED := { echo "make: the Python packages could not be installed, for the reason above: PyPI, or the index in PIP_INDEX_URL and UV_DEFAULT_INDEX, must be reachable (by a proxy: HTTPS_PROXY), and the disk have 1 GB free" >&2; exit 1; }

# pip installs uv, and uv installs everything else: in seconds instead of minutes, and with one cache for all checkouts.
$(VENV)/bin/uv: requirements-uv.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed as python3, found $$(python3 --version 2>&1)" >&2; exit 1; }
	@python3 -c 'import ensurepip' 2>/dev/null || { apt-get update -q && apt-get install -qy --no-install-recommends python3-venv; } \
	  || { echo "make: python3-venv is needed: install it as root" >&2; exit 1; }
	@echo "Setting up the Python environment in $(VENV)"
	@python3 -m venv $(VENV) || $(UNINSTALLED)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt || $(UNINSTALLED)
	@touch $@

$(VENV)/deploy.stamp: requirements.txt $(VENV)/bin/uv
	@$(VENV)/bin/uv pip install --quiet --python $(VENV) --require-hashes -r requirements.txt || $(UNINSTALLED)
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/deploy.stamp
	@# The lock has all of them, and one (images/postgres/overrides.in) that Patroni itself would not take.
	@$(VENV)/bin/uv pip install --quiet --python $(VENV) --no-deps --require-hashes -r requirements-dev.txt || $(UNINSTALLED)
	@touch $@

# The service has its own requirements, separate from Ansible's.
$(VENV_APP)/dev.stamp: app/requirements-dev.txt app/requirements-build.txt app/pyproject.toml $(VENV)/bin/uv
	@echo "Setting up the service's Python environment in $(VENV_APP)"
	@uv venv --quiet --allow-existing --python python3 $(VENV_APP)
	@uv pip install --quiet --python $(VENV_APP) --require-hashes -r app/requirements-dev.txt || $(UNINSTALLED)
	@uv pip install --quiet --python $(VENV_APP) --no-deps --build-constraints app/requirements-build.txt --editable app
	@touch $@

# What the service is measured against has nothing in common with it.
$(VENV_BENCH)/stamp: app/bench/peers/requirements.txt $(VENV)/bin/uv
	@echo "Setting up the environment of what the service is measured against in $(VENV_BENCH)"
	@uv venv --quiet --allow-existing --python python3 $(VENV_BENCH)
	@uv pip install --quiet --python $(VENV_BENCH) --require-hashes -r app/bench/peers/requirements.txt || $(UNINSTALLED)
	@touch $@

# checkov has an environment of its own, since its pins conflict with Ansible's.
$(VENV_CHECKOV)/stamp: requirements-checkov.txt $(VENV)/bin/uv
	@echo "Setting up the environment of the manifests' checks in $(VENV_CHECKOV)"
	@uv venv --quiet --allow-existing --python python3 $(VENV_CHECKOV)
	@uv pip install --quiet --python $(VENV_CHECKOV) --require-hashes -r requirements-checkov.txt
	@touch $@

$(VENV_DOCS)/docs.stamp: docs/requirements.txt $(VENV)/bin/uv
	@uv venv --quiet --allow-existing --python python3 $(VENV_DOCS)
	@uv pip install --quiet --python $(VENV_DOCS) --require-hashes -r docs/requirements.txt || $(UNINSTALLED)
	@touch $@

# Programs that tests and measurements call, from Debian's packages if they are missing.
$(VENV)/tools.stamp: $(VENV)/bin/uv
	@missing=; for tool in chromium curl openssl wrk; do command -v $$tool > /dev/null || missing="$$missing $$tool"; done; \
	test -z "$$missing" || { apt-get update -q && apt-get install -qy --no-install-recommends $$missing; }
	@touch $@

# What is shown of which Secret, and the login that it is of; those of declared logins have a label.
SECRETS := {{range .items}}{{$$login := ""}}{{with .metadata.labels}}{{with index . "flask-postgres-stack/login"}}{{$$login = .}}{{end}}{{end}} \
  {{- if $$login}}{{with .data}}{{printf "Login       %s  %s  (database %s)\n" $$login (.DB_PASSWORD | base64decode) (.DB_NAME | base64decode)}}{{end}} \
  {{- else if eq .metadata.name "pgadmin-secret" "pgadmin-users" "postgres-secret" "flask-app-secret"}}{{with .data}} \
  {{- if .PGADMIN_DEFAULT_PASSWORD}}{{printf "pgAdmin     %s  %s\n" (.PGADMIN_DEFAULT_EMAIL | base64decode) (.PGADMIN_DEFAULT_PASSWORD | base64decode)}}{{end}} \
  {{- if .users}}{{printf "Users of pgAdmin: address, role, state, password\n%s" (.users | base64decode)}}{{end}} \
  {{- if .POSTGRES_PASSWORD}}{{printf "PostgreSQL  %s  %s\n" (.POSTGRES_USER | base64decode) (.POSTGRES_PASSWORD | base64decode)}}{{end}} \
  {{- if .API_TOKEN}}{{printf "API token   %s\n" (.API_TOKEN | base64decode)}}{{end}} \
  {{- end}}{{end}}{{end}}

##@ Deploy

deploy: $(VENV)/deploy.stamp ## Deploy the stack, or change it to what the settings say
	@$(PLAYBOOK) site.yml

render: $(VENV)/deploy.stamp ## Write all manifests without Secrets into a folder (TO=manifests), for review or GitOps; needs no cluster
	@$(RUN) python -m stack.render --inventory="$$INVENTORY" --to="$${TO:-manifests}"

destroy: $(VENV)/deploy.stamp ## Remove the cluster and what the offline build installed; volumes and cache are kept
	@$(PLAYBOOK) playbooks/destroy.yml

##@ Operate a running stack

status: $(VENV)/deploy.stamp ## Show what runs and what is wrong; exit code 2 if something is
	@ANSIBLE_STDOUT_CALLBACK=screen $(PLAYBOOK) playbooks/status.yml

logs: ## Follow the logs of the service and its workers, of one pod (POD=postgres-0) or of all (POD=all)
	@case "$$POD" in "") set -- -l "app in (flask-app, flask-app-worker, flask-app-cronjob)";; all) set -- -l app;; \
	  *) set -- "$$POD";; esac; \
	$(RUN) kubectl logs -f --prefix --tail=20 --all-containers --max-log-requests=100 "$$@"

shell: ## Open a shell in a pod of the service, or in another (POD=postgres-0)
	@$(RUN) kubectl exec -it "$${POD:-deployment/flask-app}" -- \
	  sh -c 'test $$# = 0 || exec "$$@"; command -v bash > /dev/null && exec bash; exec sh' sh

psql: ## Open psql on the database's primary
	@$(RUN) kubectl exec -it service/postgres -- sh -c 'exec psql -U "$$POSTGRES_USER" -d postgres "$$@"' psql

secrets: ## Show the passwords of pgAdmin, PostgreSQL and declared logins, and the token for writes to the API
	@$(RUN) kubectl get secrets -o go-template='$(SECRETS)'

open: $(VENV)/deploy.stamp ## Open the service and pgAdmin in a browser, and print their addresses
	@$(RUN) python -m stack.developer open --inventory="$$INVENTORY"

report: $(VENV)/deploy.stamp ## Write a page with charts of the last hours (ARGS='-e report_hours=24')
	@$(PLAYBOOK) playbooks/report.yml

backup: $(VENV)/deploy.stamp ## Make a backup now (ARGS='-e backup_type=full')
	@$(PLAYBOOK) playbooks/backup.yml

restore: $(VENV)/deploy.stamp ## Restore a backup (ARGS='-e restore_time=2026-03-01T18:00:00Z')
	@$(PLAYBOOK) playbooks/restore.yml

restore-test: $(VENV)/deploy.stamp ## Restore the last backup beside the stack, read all of it, and remove it again
	@$(PLAYBOOK) playbooks/restore_test.yml

update: $(VENV)/deploy.stamp ## Build the images anew on what Debian and the registries have now (ARGS='-e update_check=true' shows it)
	@$(PLAYBOOK) playbooks/update.yml

rotate: $(VENV)/deploy.stamp ## Replace secrets while the stack serves (WHAT=database, logins, pgadmin, token, certificates, ca or all)
	@$(PLAYBOOK) playbooks/rotate.yml -e "rotate=$$WHAT"

replace-node: $(VENV)/deploy.stamp ## Give up a node that is lost for good (NODE=name): its pods are made anew elsewhere
	@$(PLAYBOOK) playbooks/replace_node.yml -e "replace_node=$$NODE"

drill: $(VENV)/deploy.stamp ## Take the primary down in every way, and count lost rows and failed requests
	@$(PLAYBOOK) playbooks/drill.yml

sbom: $(VENV)/dev.stamp ## Write a bill of materials for each running image
	@python -m stack.sbom $(OUTPUT)/sbom

##@ Develop

dev: $(VENV)/deploy.stamp $(VENV_APP)/dev.stamp ## Run app/ with reload and the stack's database, and its tests on save (ARGS='--tests=tests/test_api.py')
	@$(RUN) python -m stack.developer dev --inventory="$$INVENTORY"

# A failed stage does not end the run, so that one run shows everything that is wrong. The service's tests need no cluster, and run
# beside the roles'.
test: ## Run every test: lint, unit, policy, the service, then a deployment, the roles, the stack
	@mkdir -p $(OUTPUT) && rm -f $(OUTPUT)/{stages,durations}; \
	stage() { \
	  local began=$$SECONDS result=passed; echo "=== make $$1"; \
	  $(MAKE) --no-print-directory $$1 ARGS= || result=FAILED; \
	  printf '%-25s %s in %d s\n' $$1 $$result $$((SECONDS - began)) >> $(OUTPUT)/stages; \
	}; \
	stage lint; stage test-unit; stage test-policy; \
	stage test-app > $(OUTPUT)/app 2>&1 & stage deploy; stage test-roles; wait; cat $(OUTPUT)/app; \
	stage test-docker-driver-short; \
	stage test-e2e; \
	echo; echo "=== stages"; cat $(OUTPUT)/stages; \
	echo "=== slowest tests"; sort -rn $(OUTPUT)/durations | head; \
	! grep -q FAILED $(OUTPUT)/stages

# The checks run side by side; the output of each is kept together.
LINTS := lint-manifests lint-roles lint-types lint-locks lint-tree lint-words lint-ends lint-python
lint: $(VENV)/dev.stamp $(VENV_APP)/dev.stamp $(VENV_CHECKOV)/stamp ## Check the repository: YAML, roles, Python, locks, Dockerfiles, manifests, secrets, spelling, ends of life
	@$(MAKE) --no-print-directory --keep-going --output-sync --jobs=$$(nproc) $(LINTS)

.PHONY: $(LINTS)
lint-manifests:
	@python tests/policy/manifests.py

lint-roles:
	@ansible-lint -q

lint-types:
	@mypy
	@cd app && ../$(VENV_APP)/bin/mypy

lint-locks:
	@python tests/policy/locks.py

lint-tree:
	@yamllint --strict .
	@git ls-files -z '*Dockerfile' | xargs -0 hadolint
	@$$(python -m stack.gotools actionlint) -shellcheck= -pyflakes=
	@pre-commit validate-config .pre-commit-config.yaml

lint-words:
	@python tests/policy/words.py

lint-ends:
	@python tests/policy/end_of_life.py

BANDIT := bandit --quiet --configfile pyproject.toml --severity-level medium
lint-python:
	@ruff check --quiet && ruff format --check --quiet
	@cd app && ../$(VENV_APP)/bin/ruff check --quiet
	@{ git ls-files '*.py' ':!tests/*' ':!app/tests/*'; git grep -lE '^#!.*python' images; } | xargs $(BANDIT)
	@# Tests may build SQL from strings: they take no input.
	@git ls-files 'tests/*.py' 'app/tests/*.py' | xargs $(BANDIT) --skip B608

test-unit: $(VENV)/dev.stamp $(VENV_APP)/dev.stamp ## Test the Python of src/, in seconds, without a cluster
	@$(RUN) pytest tests/unit

test-policy: $(VENV)/dev.stamp $(VENV_CHECKOV)/stamp ## Test the checks of manifests, locks, settings and words, without a cluster
	@$(RUN) pytest tests/policy

test-app: $(VENV_APP)/dev.stamp ## Test the service with a PostgreSQL that the tests start
	@cd app && $(RUN) ../$(VENV_APP)/bin/python -m pytest -q

test-roles: $(VENV)/dev.stamp $(VENV)/tools.stamp ## Test each role alone on a cluster, two at a time
	@molecule create --no-report --no-command-borders
	@$(MAKE) --no-print-directory --jobs=2 --output-sync --keep-going $(ROLES:%=test-role-%)

test-role-%: $(VENV)/dev.stamp $(VENV)/tools.stamp ## Test one role alone, such as make test-role-tls
	@# Molecule keeps the state of an earlier run, even if its objects are gone.
	@molecule reset --scenario-name $* --no-report > /dev/null 2>&1
	@$(RUN) molecule test --scenario-name $* --report --no-command-borders

# Without ARGS, three streams run side by side: what touches nothing of the stack, what changes a stack again and again, on a second
# one, and all else. What needs the machine for itself comes last.
E2E := pytest tests/e2e
test-e2e: $(VENV)/dev.stamp $(VENV)/tools.stamp $(VENV_APP)/dev.stamp $(VENV_CHECKOV)/stamp ## Test the running stack (ARGS='-m backup')
ifeq ($(strip $(ARGS)),)
	@mkdir -p $(OUTPUT); failed=0; $(E2E) -m beside > $(OUTPUT)/beside 2>&1 & beside=$$!; \
	INVENTORY=tests/e2e/second $(E2E) -m second > $(OUTPUT)/second 2>&1 & second=$$!; \
	$(E2E) -m 'not beside and not second and not alone and not docker_driver' || failed=1; \
	wait $$beside || failed=1; cat $(OUTPUT)/beside; wait $$second || failed=1; cat $(OUTPUT)/second; \
	$(E2E) -m alone || failed=1; exit $$failed
else
	@$(RUN) pytest $(if $(findstring tests/,$(ARGS)),,tests/e2e)
endif

test-issuer: $(VENV)/dev.stamp $(VENV)/tools.stamp ## Test certificates from cert-manager, after building its controllers
	@BUILD_CERT_MANAGER=1 $(RUN) pytest -s tests/e2e/test_issuer.py

test-docker-driver: $(VENV)/dev.stamp $(VENV)/tools.stamp ## Test the stack on a Minikube with the Docker driver, of one node and of several (NODES=3)
	@$(RUN) pytest tests/e2e/test_docker_driver.py tests/e2e/test_docker_nodes.py

test-docker-driver-short: $(VENV)/dev.stamp $(VENV)/tools.stamp ## Test a first start, an edit, a killed node and a removal there
	@$(RUN) pytest tests/e2e/test_docker_driver.py -m short

docker-minikube: $(VENV)/dev.stamp ## Start a Minikube with the Docker driver beside all others, as root (NODES=1)
	@python -m stack.docker_minikube up --nodes="$$NODES"

docker-minikube-down: $(VENV)/dev.stamp ## Remove it; what was built for it is kept
	@python -m stack.docker_minikube down

fuzz: $(VENV)/dev.stamp $(VENV_APP)/dev.stamp ## Send 10,000 generated requests to the running service
	@FUZZ_EXAMPLES=2000 $(RUN) pytest -s tests/e2e/test_fuzz.py

bench: $(VENV)/dev.stamp $(VENV)/tools.stamp $(VENV_APP)/dev.stamp $(VENV_BENCH)/stamp ## Measure the speed that the documents promise
	@missed=0; $(RUN) python -m stack.bench || missed=1; \
	cd app && ../$(VENV_APP)/bin/python -m bench || missed=1; exit $$missed

bench-docker-driver: $(VENV)/dev.stamp $(VENV)/tools.stamp ## Measure deployments on the empty cluster of make docker-minikube
	@python -m stack.bench.docker_driver

bench-rows: $(VENV_APP)/dev.stamp ## Measure pages of a table of 3 million records (ARGS='--rows 100000')
	@cd app && $(RUN) ../$(VENV_APP)/bin/python -m bench.rows

bench-size: $(VENV)/dev.stamp $(VENV)/tools.stamp ## Measure what stacks cost the cluster that they share (ARGS='--stacks 3')
	@$(RUN) python -m stack.bench.size

dashboards: $(VENV)/dev.stamp ## Generate Grafana's dashboards from src/stack/report/panels.py
	@python -m stack.report.dashboards roles/monitoring/files/dashboards

docs: $(VENV_APP)/dev.stamp $(VENV_DOCS)/docs.stamp ## Build the documentation into site/
	@$(VENV_APP)/bin/python docs/generate.py
	@$(VENV_DOCS)/bin/zensical build --clean --strict

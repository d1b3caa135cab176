# The everyday names. `make` alone lists them.
# Before the shell, which complains on each line of a locale that the machine does not have; Ansible does not start with one, or with
# one that is not UTF-8.
export LC_ALL := $(or $(shell locale -a 2>/dev/null | grep -ixE '(c|en_us)\.utf-?8' | head -n 1),$(value LC_ALL))
SHELL := /bin/bash
.DEFAULT_GOAL := help
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/flask-postgres-stack
VENV := .venv
VENV_APP := .venv-app
VENV_CHECKOV := .venv-checkov
VENV_DOCS := .venv-docs
OUTPUT := test-output
# The longest one first, so that none is left over for the end.
ROLES := postgres $(filter-out default postgres shared,$(notdir $(wildcard molecule/*)))
# As they are typed: a `$` in them is no variable of make, and they reach a command by the environment and no shell.
override ARGS := $(value ARGS)
override WHAT := $(or $(value WHAT),all)
override INVENTORY := $(or $(value INVENTORY),inventory/minikube)
export ARGS WHAT INVENTORY
# A command with what was typed as ARGS behind it.
RUN := python3 -m stack.run
PLAYBOOK := $(RUN) ansible-playbook -i "$$INVENTORY"
export PATH := $(CURDIR)/$(VENV)/bin:$(value PATH)
export UV_CACHE_DIR := $(CACHE)/uv
export UV_LINK_MODE := hardlink
export PYTHONPATH := $(CURDIR)/src
# Ansible reads no ansible.cfg of a folder that others may write to, unless it is told to. What a user has set for another project
# would hide this one's roles and plugins.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
unexport ANSIBLE_INVENTORY ANSIBLE_ROLES_PATH ANSIBLE_ACTION_PLUGINS ANSIBLE_LOOKUP_PLUGINS ANSIBLE_FILTER_PLUGINS ANSIBLE_CALLBACK_PLUGINS
# The cluster is asked directly, and all else by the user's proxy.
ifneq ($(HTTPS_PROXY)$(HTTP_PROXY)$(ALL_PROXY)$(https_proxy)$(http_proxy)$(all_proxy),)
export NO_PROXY := $(shell python3 src/stack/proxies.py)
export no_proxy := $(NO_PROXY)
endif
# Compiling the Kubernetes client anew for each task would take longer than the tasks.
unexport PYTHONDONTWRITEBYTECODE
export ANSIBLE_FORCE_COLOR ?= $(if $(MAKE_TERMOUT),1,0)

.PHONY: help deploy rotate status report dashboards backup restore psql logs test lint test-unit test-policy test-app test-roles test-e2e test-issuer fuzz bench drill sbom docs destroy
help: ## List these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

# The last line of a failed installation, below what Python, pip or uv says.
UNINSTALLED := { echo "make: the Python packages could not be installed, for the reason above: PyPI, or the index in PIP_INDEX_URL and UV_DEFAULT_INDEX, must be reachable (by a proxy: HTTPS_PROXY), and the disk have 1 GB free" >&2; exit 1; }

# pip installs uv alone, uv the rest: seconds instead of minutes, and its cache is shared between checkouts.
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
	@$(VENV)/bin/uv pip install --quiet --python $(VENV) --require-hashes -r requirements-dev.txt || $(UNINSTALLED)
	@touch $@

# The service has its own requirements, which share nothing with Ansible's.
$(VENV_APP)/dev.stamp: app/requirements-dev.txt app/requirements-build.txt app/pyproject.toml $(VENV)/bin/uv
	@echo "Setting up the service's Python environment in $(VENV_APP)"
	@uv venv --quiet --allow-existing --python python3 $(VENV_APP)
	@uv pip install --quiet --python $(VENV_APP) --require-hashes -r app/requirements-dev.txt || $(UNINSTALLED)
	@uv pip install --quiet --python $(VENV_APP) --no-deps --build-constraints app/requirements-build.txt --editable app
	@touch $@

# Its pins conflict with Ansible's.
$(VENV_CHECKOV)/stamp: requirements-checkov.txt $(VENV)/bin/uv
	@echo "Setting up the environment of the manifests' checks in $(VENV_CHECKOV)"
	@uv venv --quiet --allow-existing --python python3 $(VENV_CHECKOV)
	@uv pip install --quiet --python $(VENV_CHECKOV) --require-hashes -r requirements-checkov.txt
	@touch $@

$(VENV_DOCS)/docs.stamp: docs/requirements.txt $(VENV)/bin/uv
	@uv venv --quiet --allow-existing --python python3 $(VENV_DOCS)
	@uv pip install --quiet --python $(VENV_DOCS) --require-hashes -r docs/requirements.txt || $(UNINSTALLED)
	@touch $@

# What tests and measurements call and a machine may lack.
$(VENV)/tools.stamp: $(VENV)/bin/uv
	@missing=; for tool in chromium curl openssl wrk; do command -v $$tool > /dev/null || missing="$$missing $$tool"; done; \
	test -z "$$missing" || { apt-get update -q && apt-get install -qy --no-install-recommends $$missing; }
	@touch $@

deploy: $(VENV)/deploy.stamp ## Bring the stack up, or bring it to what the settings say
	@$(PLAYBOOK) site.yml

rotate: $(VENV)/deploy.stamp ## Replace secrets while the stack serves: WHAT=database, pgadmin, token, certificates, ca or all
	@$(PLAYBOOK) playbooks/rotate.yml -e "rotate=$$WHAT"

status: $(VENV)/deploy.stamp ## Show what runs and what is wrong; exit code 2 where something is
	@ANSIBLE_STDOUT_CALLBACK=screen ANSIBLE_CALLBACKS_ENABLED=screen $(PLAYBOOK) playbooks/status.yml

report: $(VENV)/deploy.stamp ## Draw what Prometheus has seen into one page (ARGS='-e report_hours=24')
	@$(PLAYBOOK) playbooks/report.yml

dashboards: $(VENV)/dev.stamp ## Write Grafana's dashboards anew from src/stack/report/panels.py
	@python -m stack.report.dashboards roles/monitoring/files/dashboards

backup: $(VENV)/deploy.stamp ## Make a backup now (ARGS='-e backup_type=full')
	@$(PLAYBOOK) playbooks/backup.yml

restore: $(VENV)/deploy.stamp ## Restore the database (ARGS='-e restore_time=2026-03-01T18:00:00Z')
	@$(PLAYBOOK) playbooks/restore.yml

psql: ## Open psql in the database
	@$(RUN) kubectl exec -it service/postgres -- sh -c 'exec psql -U "$$POSTGRES_USER" -d postgres "$$@"' psql

logs: ## Follow the service's logs
	@kubectl logs -f --prefix --tail=20 -l app=flask-app

# The stages go on after a failure, so that one run shows all that is wrong; only the stack's own tests need a stack.
test: ## Run every test: lint, the units, the policies, the service, the deployment, the roles, the stack
	@mkdir -p $(OUTPUT) && : > $(OUTPUT)/stages; failed=0; \
	for stage in lint test-unit test-policy test-app deploy test-roles; do \
	  echo "=== make $$stage"; began=$$SECONDS; \
	  if $(MAKE) --no-print-directory $$stage ARGS=; then result=passed; else result=FAILED; failed=1; fi; \
	  printf '%-10s %s in %d s\n' $$stage $$result $$((SECONDS - began)) >> $(OUTPUT)/stages; \
	done; \
	echo "=== make test-e2e"; \
	MAKE_TEST=1 $(MAKE) --no-print-directory test-e2e ARGS= && exit $$failed

# Tools that do not wait for each other, with what they print kept together.
LINTS := lint-manifests lint-roles lint-types lint-locks lint-tree lint-words lint-python
lint: $(VENV)/dev.stamp $(VENV_APP)/dev.stamp $(VENV_CHECKOV)/stamp ## Check the tree: YAML, roles, Python, locks, Dockerfiles, manifests, secrets
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

BANDIT := bandit --quiet --configfile pyproject.toml --severity-level medium
lint-python:
	@ruff check --quiet && ruff format --check --quiet
	@cd app && ../$(VENV_APP)/bin/ruff check --quiet
	@{ git ls-files '*.py' ':!tests/*' ':!app/tests/*'; git grep -lE '^#!.*python' images; } | xargs $(BANDIT)
	@# The tests' own statements, which take nothing from anybody.
	@git ls-files 'tests/*.py' 'app/tests/*.py' | xargs $(BANDIT) --skip B608

test-unit: $(VENV)/dev.stamp ## Test the Python of src/, in seconds and without a cluster
	@$(RUN) pytest tests/unit

test-policy: $(VENV)/dev.stamp $(VENV_CHECKOV)/stamp ## Test the checks of the manifests, the locks and the settings' descriptions
	@$(RUN) pytest tests/policy

test-app: $(VENV_APP)/dev.stamp ## Test the service on a PostgreSQL of its own
	@cd app && $(RUN) ../$(VENV_APP)/bin/python -m pytest -q

test-roles: $(VENV)/dev.stamp $(VENV)/tools.stamp ## Test each role alone on the cluster, two at a time
	@molecule create --no-report --no-command-borders
	@$(MAKE) --no-print-directory --jobs=2 --output-sync --keep-going $(ROLES:%=test-role-%)

test-role-%: $(VENV)/dev.stamp $(VENV)/tools.stamp
	@# Molecule remembers what it has prepared, even if it is long gone.
	@molecule reset --scenario-name $* --no-report > /dev/null 2>&1
	@$(RUN) molecule test --scenario-name $* --report --no-command-borders

# Without a choice: what has a stack of its own beside the rest, and then, alone, what takes the stack down.
E2E := pytest tests/e2e
test-e2e: $(VENV)/dev.stamp $(VENV)/tools.stamp $(VENV_APP)/dev.stamp $(VENV_CHECKOV)/stamp ## Test the running stack from outside (ARGS='-m backup')
ifeq ($(strip $(ARGS)),)
	@mkdir -p $(OUTPUT); failed=0; $(E2E) -m beside > $(OUTPUT)/beside 2>&1 & beside=$$!; \
	$(E2E) -m 'not beside and not disruptive' || failed=1; \
	wait $$beside || failed=1; cat $(OUTPUT)/beside; \
	$(E2E) -m disruptive || failed=1; exit $$failed
else
	@$(RUN) pytest $(if $(findstring tests/,$(ARGS)),,tests/e2e)
endif

test-issuer: $(VENV)/dev.stamp $(VENV)/tools.stamp ## Test certificates from cert-manager, whose controllers are built for it
	@BUILD_CERT_MANAGER=1 $(RUN) pytest -s tests/e2e/test_issuer.py

fuzz: $(VENV)/dev.stamp $(VENV_APP)/dev.stamp ## Call the running service with 10,000 generated requests
	@FUZZ_EXAMPLES=2000 $(RUN) pytest -s tests/e2e/test_fuzz.py

bench: $(VENV)/dev.stamp $(VENV)/tools.stamp $(VENV_APP)/dev.stamp ## Measure what is promised about speed
	@missed=0; $(RUN) python -m stack.bench || missed=1; \
	cd app && ../$(VENV_APP)/bin/python -m bench || missed=1; exit $$missed

drill: $(VENV)/deploy.stamp ## Take the primary down in every way while clients write, and count what is lost
	@$(PLAYBOOK) playbooks/drill.yml

sbom: $(VENV)/dev.stamp ## Write a bill of materials for each image on the cluster
	@python -m stack.sbom $(OUTPUT)/sbom

docs: $(VENV_APP)/dev.stamp $(VENV_DOCS)/docs.stamp ## Build the documentation into site/
	@$(VENV_APP)/bin/python docs/generate.py
	@$(VENV_DOCS)/bin/zensical build --clean --strict

destroy: $(VENV)/deploy.stamp ## Take the cluster and all traces of it away, but the volumes and the cache
	@$(PLAYBOOK) playbooks/destroy.yml

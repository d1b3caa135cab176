# The everyday names. `make` alone lists them.
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
INVENTORY ?= inventory/minikube
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export UV_CACHE_DIR := $(CACHE)/uv
export UV_LINK_MODE := hardlink
export PYTHONPATH := $(CURDIR)/src
# Compiling the Kubernetes client anew for each task would take longer than the tasks.
unexport PYTHONDONTWRITEBYTECODE
export ANSIBLE_FORCE_COLOR ?= $(shell test -t 1 && echo 1 || echo 0)

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
	@ansible-playbook -i $(INVENTORY) site.yml $(ARGS)

rotate: $(VENV)/deploy.stamp ## Replace secrets while the stack serves: WHAT=database, pgadmin, token, certificates, ca or all
	@ansible-playbook -i $(INVENTORY) playbooks/rotate.yml -e rotate=$(or $(WHAT),all) $(ARGS)

status: $(VENV)/deploy.stamp ## Show what runs and what is wrong; exit code 2 where something is
	@ANSIBLE_STDOUT_CALLBACK=screen ANSIBLE_CALLBACKS_ENABLED=screen ansible-playbook -i $(INVENTORY) playbooks/status.yml $(ARGS)

report: $(VENV)/deploy.stamp ## Draw what Prometheus has seen into one page (ARGS='-e report_hours=24')
	@ansible-playbook -i $(INVENTORY) playbooks/report.yml $(ARGS)

dashboards: $(VENV)/dev.stamp ## Write Grafana's dashboards anew from src/stack/report/panels.py
	@python -m stack.report.dashboards roles/monitoring/files/dashboards

backup: $(VENV)/deploy.stamp ## Make a backup now (ARGS='-e backup_type=full')
	@ansible-playbook -i $(INVENTORY) playbooks/backup.yml $(ARGS)

restore: $(VENV)/deploy.stamp ## Restore the database (ARGS='-e restore_time=2026-03-01T18:00:00Z')
	@ansible-playbook -i $(INVENTORY) playbooks/restore.yml $(ARGS)

psql: ## Open psql in the database
	@kubectl exec -it service/postgres -- sh -c 'exec psql -U "$$POSTGRES_USER" -d postgres "$$@"' psql $(ARGS)

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
LINTS := lint-manifests lint-roles lint-types lint-locks lint-tree lint-python
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

BANDIT := bandit --quiet --configfile pyproject.toml --severity-level medium
lint-python:
	@ruff check --quiet && ruff format --check --quiet
	@cd app && ../$(VENV_APP)/bin/ruff check --quiet
	@{ git ls-files '*.py' ':!tests/*' ':!app/tests/*'; git grep -lE '^#!.*python' images; } | xargs $(BANDIT)
	@# The tests' own statements, which take nothing from anybody.
	@git ls-files 'tests/*.py' 'app/tests/*.py' | xargs $(BANDIT) --skip B608

test-unit: $(VENV)/dev.stamp ## Test the Python of src/, in seconds and without a cluster
	@pytest tests/unit $(ARGS)

test-policy: $(VENV)/dev.stamp $(VENV_CHECKOV)/stamp ## Test the checks of the manifests, the locks and the settings' descriptions
	@pytest tests/policy $(ARGS)

test-app: $(VENV_APP)/dev.stamp ## Test the service on a PostgreSQL of its own
	@cd app && ../$(VENV_APP)/bin/python -m pytest -q $(ARGS)

test-roles: $(VENV)/dev.stamp $(VENV)/tools.stamp ## Test each role alone on the cluster, two at a time
	@molecule create --no-report --no-command-borders
	@$(MAKE) --no-print-directory --jobs=2 --output-sync --keep-going $(ROLES:%=test-role-%)

test-role-%: $(VENV)/dev.stamp $(VENV)/tools.stamp
	@# Molecule remembers what it has prepared, even if it is long gone.
	@molecule reset --scenario-name $* --no-report > /dev/null 2>&1
	@molecule test --scenario-name $* --report --no-command-borders $(ARGS)

# Without a choice: what has a stack of its own beside the rest, and then, alone, what takes the stack down.
E2E := pytest tests/e2e
test-e2e: $(VENV)/dev.stamp $(VENV)/tools.stamp $(VENV_APP)/dev.stamp $(VENV_CHECKOV)/stamp ## Test the running stack from outside (ARGS='-m backup')
ifeq ($(strip $(ARGS)),)
	@mkdir -p $(OUTPUT); failed=0; $(E2E) -m beside > $(OUTPUT)/beside 2>&1 & beside=$$!; \
	$(E2E) -m 'not beside and not disruptive' || failed=1; \
	wait $$beside || failed=1; cat $(OUTPUT)/beside; \
	$(E2E) -m disruptive || failed=1; exit $$failed
else
	@pytest $(if $(findstring tests/,$(ARGS)),,tests/e2e) $(ARGS)
endif

test-issuer: $(VENV)/dev.stamp $(VENV)/tools.stamp ## Test certificates from cert-manager, whose controllers are built for it
	@BUILD_CERT_MANAGER=1 pytest -s tests/e2e/test_issuer.py $(ARGS)

fuzz: $(VENV)/dev.stamp $(VENV_APP)/dev.stamp ## Call the running service with 10,000 generated requests
	@FUZZ_EXAMPLES=2000 pytest -s tests/e2e/test_fuzz.py $(ARGS)

bench: $(VENV)/dev.stamp $(VENV)/tools.stamp $(VENV_APP)/dev.stamp ## Measure what is promised about speed
	@missed=0; python -m stack.bench $(ARGS) || missed=1; \
	cd app && ../$(VENV_APP)/bin/python -m bench || missed=1; exit $$missed

drill: $(VENV)/deploy.stamp ## Take the primary down in every way while clients write, and count what is lost
	@ansible-playbook -i $(INVENTORY) playbooks/drill.yml $(ARGS)

sbom: $(VENV)/dev.stamp ## Write a bill of materials for each image on the cluster
	@python -m stack.sbom $(OUTPUT)/sbom

docs: $(VENV_APP)/dev.stamp $(VENV_DOCS)/docs.stamp ## Build the documentation into site/
	@$(VENV_APP)/bin/python docs/generate.py
	@$(VENV_DOCS)/bin/zensical build --clean --strict

destroy: $(VENV)/deploy.stamp ## Take the cluster and all traces of it away, but the volumes and the cache
	@ansible-playbook -i $(INVENTORY) playbooks/destroy.yml $(ARGS)

# make help says what there is.
SHELL := /bin/sh
PY := .venv/bin/python
ARGS ?=
# Tests talk to servers and mostly wait: three processes, each with labs of its own, share them by file, those that take
# long first (unit tests come last in the alphabet). ARGS=-n0: only one.
WORKERS ?= 3
INVENTORY ?= inventory/lab

.DEFAULT_GOAL := help
.PHONY: help system venv rootfs prompts provider browser format lint unit test demo bench bench-call bench-call-freeswitch bench-ari
.PHONY: bench-readopt bench-ring bench-failover bench-start bench-sync bench-ingest bench-api bench-match bench-wait-estimate
.PHONY: test-drill test-pair bench-estimate bench-vault bench-consent bench-provision simulate simulate-day chaos model fuzz-acd fuzz-callbacks fuzz-consent fuzz-esl
.PHONY: clean lab-hosts provision plan lint-hosts test-hosts images

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

system: ## Install the Debian packages that are missing
	@tests/lab/install.sh system

venv: system ## Make .venv from the locked requirements
	@tests/lab/install.sh venv

rootfs: venv ## Build the lab's Debian root file system, if the cache has none
	@$(PY) -m tests.lab.rootfs

prompts: venv ## Build the voice prompts, if the cache has none
	@.venv/bin/callplane prompts build

provider: venv ## Build the tests' OpenID Connect provider, if the cache has none
	@$(PY) -m tests.support.oidc_provider

browser: venv ## Build the tests' browser phone (WebSocket, DTLS-SRTP), if the cache has none
	@$(PY) -m tests.support.browser

format: venv ## Format the code
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lint: venv ## Check style, types and import rules
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

unit: venv ## Tests that need no server, but for long random walks
	.venv/bin/pytest -n 2 --dist loadfile -m "not long" tests/unit $(ARGS)

test: lint rootfs prompts provider browser ## All checks and all tests (as root; ARGS go to pytest)
	.venv/bin/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not hosts and not pair" $(ARGS)

lab-hosts: venv ## Bare machines for inventory/lab, until Ctrl-C (as root)
	@tests/lab/install.sh hosts
	@$(PY) -m tests.lab.hosts

provision: venv ## Install or repair a site (INVENTORY=inventory/lab; ARGS go to ansible-playbook)
	@$(PY) -m playbooks.environment ansible-playbook -i $(abspath $(INVENTORY)) $(ARGS) $(abspath playbooks/site.yml)

plan: venv ## What a run would change on each host of a site, and change nothing (INVENTORY, ARGS as provision)
	@$(PY) -m playbooks.environment ansible-playbook -i $(abspath $(INVENTORY)) --check --diff $(ARGS) $(abspath playbooks/site.yml)

lint-hosts: venv ## Check playbooks and roles with ansible-lint, and that roles' READMEs are current
	@$(PY) -m playbooks.docs --check
	@cd playbooks && PYTHONPATH=.. ../$(PY) -m playbooks.environment ansible-lint --offline --profile production

test-hosts: rootfs prompts lint-hosts ## Bare machines to a site, and what is done to it (as root; half an hour)
	@tests/lab/install.sh hosts
	.venv/bin/pytest -n0 -m hosts tests/lab/hosts $(ARGS)

images: venv ## Build the container images (as root; ARGS="--base IMAGE")
	@tests/lab/install.sh images
	@$(PY) -m docker.build $(ARGS)

demo: rootfs prompts ## Start everything and place calls (as root; ARGS=--once ends after them)
	@$(PY) -m tests.lab.demo $(ARGS)

bench-call: rootfs prompts ## CPU per call, against Asterisk's own queue in the same run (as root)
	@$(PY) -m tests.bench.call $(ARGS)

bench-call-freeswitch: rootfs prompts ## The same on FreeSWITCH, against its own mod_callcenter (as root)
	@$(PY) -m tests.bench.call_freeswitch $(ARGS)

bench-ari: rootfs prompts ## ARI requests a second, over Asterisk's own websocket against HTTP (as root)
	@$(PY) -m tests.bench.ari $(ARGS)

bench-readopt: rootfs prompts ## Time until a restarted controller has taken up 500 live calls (as root; ARGS="--calls N")
	@$(PY) -m tests.bench.readopt $(ARGS)

bench-ring: rootfs prompts ## From an agent who is free to a phone that rings, within a POP and across (as root)
	@$(PY) -m tests.bench.ring $(ARGS)

bench-failover: rootfs prompts ## POP powered off to next call answered by its backup (as root; ARGS="--rounds N --give-up S")
	@$(PY) -m tests.bench.failover $(ARGS)

bench-start: rootfs prompts ## Time from the start of a process until it works (as root; ARGS="--rounds N")
	@$(PY) -m tests.bench.start $(ARGS)

bench-match: venv ## Time and memory of a match decision and their growth (ARGS="--small --svg OUT")
	@$(PY) -m tests.bench.match $(ARGS)

bench-wait-estimate: venv ## Error of the estimated wait on simulated days (ARGS="--calls N --svg OUT")
	@$(PY) -m tests.bench.estimate $(ARGS)

bench-sync: venv ## A change of configuration to 100 POPs (as root; ARGS="--pops N --changes N")
	@$(PY) -m tests.bench.sync $(ARGS)

bench-ingest: venv ## Events a second into PostgreSQL, with all that is made of them (as root; ARGS="--calls N")
	@$(PY) -m tests.bench.ingest $(ARGS)

bench-api: venv ## Reads over REST with a million calls in the table (as root; ARGS="--calls N --rate N --sqlite")
	@$(PY) -m tests.bench.api $(ARGS)

bench-vault: venv ## CPU of sealing 50 concurrent recordings; four hours played from the middle (as root)
	@$(PY) -m tests.bench.vault $(ARGS)

bench-consent: venv ## Time to find a call's recording rule and to grant it (ARGS="--seed S")
	@$(PY) -m tests.bench.consent $(ARGS)

bench-provision: rootfs prompts ## Bare machines to the first call, and the second run (as root)
	@tests/lab/install.sh hosts
	@$(PY) -m tests.bench.provision $(ARGS)

bench-estimate: bench-wait-estimate ## The same

simulate: venv ## Simulated queues beside Erlang C and Erlang A
	@.venv/bin/callplane simulate check $(ARGS)

simulate-day: venv ## A day of a million calls in ten queues (ARGS="--calls N --seed S --svg OUT")
	@.venv/bin/callplane simulate day $(ARGS)

model: venv ## All ways in which queues over several POPs can be played (ARGS=--quick: the tests' share)
	@$(PY) -m tests.model.explore $(ARGS)

fuzz-acd: venv ## A million random steps of agents and callers (ARGS="--steps N --seed S")
	@$(PY) -m tests.fuzz.acd $(ARGS)

fuzz-callbacks: venv ## Random callbacks, hours and crashes around the ACD (ARGS="--steps N --seed S")
	@$(PY) -m tests.fuzz.callbacks $(ARGS)

fuzz-consent: venv ## A million random calls, and nothing captured without a grant (ARGS="--calls N --seed S")
	@$(PY) -m tests.fuzz.consent $(ARGS)

fuzz-esl: venv ## A million mutated event socket streams (ARGS="--streams N --seed S")
	@$(PY) -m tests.fuzz.esl $(ARGS)

chaos: rootfs prompts ## Faults at random under calls, and an independent check (as root; ARGS="--seed N --rounds N --engine E --aimed --pops 2")
	@$(PY) -m tests.chaos $(ARGS)

test-pair: rootfs prompts ## Two hosts that are one POP, phones with two registrars, by accounts and by SRV: four minutes (as root)
	.venv/bin/pytest -n0 -m pair tests/e2e $(ARGS)

test-drill: rootfs prompts ## callplane drill in a lab that is running: a minute and a half (as root)
	@$(PY) -m pytest -n0 -q tests/chaos/drill_proof.py

bench: rootfs prompts ## All benchmarks; writes tests/bench/RESULTS.md (as root)
	@$(PY) -m tests.bench

clean: ## Remove what was made in this directory; the cache stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

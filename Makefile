# Starling: build, run, test. `make` alone lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build page run demo test test-rust test-page test-browser lint fmt bench bench-scale chaos edges deny tools examples-check clean-state wire-baseline

# Where test tools of this checkout live; nothing outside target/ is written.
VENV := target/venv
# Where `make run` keeps its state and history; empty: the default of the program, ~/.local/state/starling.
STATE ?=
# Where `make demo` does.
DEMO_STATE ?= target/demo-state
ARGS ?=
# How long chaos lasts.
MINUTES ?= 10
# How often an aggregator is killed.
ROUNDS ?= 1000

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | while IFS=$$'\t' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

build: needs page ## Build the page and the release binaries
	@[ -e target/release/starling ] || echo "the first build takes about 10 minutes on two processors, later ones seconds"
	cargo build --release -p starling -p starling-node -p starling-aggregator -p starling-dashboard

.PHONY: needs
needs:
	@command -v cargo >/dev/null || { echo "cargo is missing (Rust 1.95 or later): see https://rustup.rs, then open a new shell"; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: apt-get install build-essential"; exit 1; }

page: dashboard/ui/dist/index.html ## Build the page only

%/node_modules: %/package-lock.json
	@node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null \
		|| { echo "the page needs Node 20.19 or later (Debian 12 has 18): see README, \"See this host, now\""; exit 1; }
	@# The locked versions, as npm ci would; that one also wants the tools' builds for every platform in the lock file,
	@# which not every registry carries.
	cd $* && npm install --no-save --no-audit --no-fund
	@touch $@

dashboard/ui/dist/index.html: dashboard/ui/node_modules $(shell find dashboard/ui/src dashboard/ui/index.html dashboard/ui/vite.config.ts -type f 2>/dev/null)
	cd dashboard/ui && npm run build

run: build ## Build everything and watch this host: starling up
	target/release/starling up $(if $(STATE),--state $(STATE)) $(ARGS)

demo: build ## A whole cluster on loopback: 3 aggregators and 20 nodes, 19 of them simulated
	target/release/starling up --aggregators 3 --nodes 20 --state $(DEMO_STATE) $(ARGS)

test: tools lint edges deny test-page test-rust examples-check packages-check test-browser ## Everything that must pass: format, lints, licences, unit, integration, browser
	@echo "all tests passed"

test-rust: tools page ## Rust tests, real processes among them
	cargo build --workspace --bins
	STARLING_TEST_PYTHON=$(CURDIR)/$(VENV)/bin/python .ci/cargo-test --workspace

examples-check: tools ## The examples of deploy/examples against a daemon, to the count
	cargo build --workspace --bins
	deploy/examples/check target/debug

test-page: dashboard/ui/node_modules page ## Page: lints, generated types, unit tests, size; the wire against the released one
	cd dashboard/ui && npm run lint && npm run wire && npm run gen:check && npm test && npm run size

wire-baseline: dashboard/ui/node_modules ## Renew proto/released after a meant break of the wire, or at a release
	cd dashboard/ui && npm run wire:baseline

test-browser: tools page tests/browser/node_modules ## Headless Chromium: a real cluster, and a fleet of invented data
	cargo build --workspace --bins
	cd tests/browser && npm test

lint: ## Format and lints of the Rust code, links of its documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

edges: ## The one direction of dependencies between crates and between the rooms of a crate
	.ci/edges
	.ci/rooms
	.ci/self-test

deny: tools ## Licences and sources of the dependencies
	PATH=$(CURDIR)/$(VENV)/bin:$$PATH cargo deny --log-level error check bans licenses sources

fmt: page-fmt ## Format everything
	cargo fmt --all

.PHONY: page-fmt
page-fmt: dashboard/ui/node_modules
	cd dashboard/ui && npx biome format --write .

bench: ## The figures of BENCHMARKS.md
	cargo build --release --workspace --bins
	.ci/bench

bench-scale: ## Cost and lateness under 100 to 10,000 nodes, then a failover (ARGS="--nodes 1000")
	cargo build --release -p starling-aggregator -p starling-tests --bins
	target/release/starling-scale $(ARGS)
	target/release/starling-scale --kill --nodes 1000,10000 --seconds 30 $(ARGS)
	target/release/starling-scale --restart --tls --nodes 1000,5000 $(ARGS)

chaos: page ## A cluster under kills, stops, set clocks, partitions and loss, every second checked (MINUTES=10; links need root)
	cargo build --release -p starling-aggregator -p starling-dashboard -p starling-tests --bins
	target/release/starling-chaos --minutes $(MINUTES) $(ARGS)

# Builds programs that say of themselves what they are made of, for scanners (section .dep-v0).
AUDITABLE := $(CURDIR)/target/tools/cargo-auditable-0.7.7/bin/cargo-auditable
$(AUDITABLE):
	cargo install --quiet --locked cargo-auditable --version 0.7.7 --root $(CURDIR)/target/tools/cargo-auditable-0.7.7

.PHONY: packages packages-check packages-test fleet-test
packages: needs page $(AUDITABLE) ## deb and rpm packages with their bills of materials, in target/packages
	deploy/packages/compile $(AUDITABLE) target/packages-build
	deploy/packages/build --binaries target/packages-build/release --out target/packages

packages-check: tools $(AUDITABLE) ## Units, packages, alert rules and board about Starling itself, without installing anything
	PATH=$(dir $(AUDITABLE)):$$PATH cargo auditable build --locked -p starling-node
	deploy/packages/check --auditable
	deploy/prometheus/check

packages-test: tools target/helm/ready ## Packages installed, upgraded, booted in a root made by debootstrap; the chart rendered (root; minutes)
	target/helm/bin/python deploy/helm/check
	deploy/packages/test-install

fleet-test: ## 25 booted hosts by the commands of the documentation: install, upgrade, loss, new authority, new keys (root; minutes)
	cargo build -p starling -p starling-node -p starling-aggregator -p starling-dashboard --bins
	deploy/packages/test-fleet target/debug

# The engine of Helm as a library is 75 MB: for this target alone.
target/helm/ready: deploy/helm/requirements.txt
	python3 -m venv target/helm
	target/helm/bin/pip install --quiet --disable-pip-version-check -r deploy/helm/requirements.txt
	@touch $@

.PHONY: kills
kills: ## kill -9 at random moments through an aggregator under load (ROUNDS=1000, some 2 seconds each)
	cargo build -p starling-aggregator --bins
	STARLING_KILLS=$(ROUNDS) cargo test -p starling-tests --test kills -- --nocapture

tools: $(VENV)/ready ## Install what the tests need, or say the exact command
	@.ci/install-tools

$(VENV)/ready: tests/python/requirements.txt .ci/install-tools
	@.ci/install-tools
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt
	@touch $@

clean-state: ## Forget what demo stored, and run when it was given a STATE
	rm -rf $(STATE) $(DEMO_STATE)

# `make` alone explains. Every target is a script in scripts/ that explains itself in its first lines.
.DEFAULT_GOAL := help
.PHONY: help demo test check proto bench revocation-sessions revocation-check crash-loop simulate simulate-fleet timing deny clean
MAKEFLAGS += --no-print-directory

help: ## this text
	@echo 'Token Broker. Start with `make demo`.'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'demo needs Rust, a C compiler and curl. The others bring what they lack when run as root on Debian 12,'
	@echo 'and name it otherwise. Style and commits: CONTRIBUTING.md. The map of the house: ARCHITECTURE.md.'

demo: ## walk through all of it on this machine; ONCE=1 walks and leaves
	@ONCE='$(ONCE)' scripts/demo.sh

test: ## every test, on real servers where they can be had; the last line counts them
	@scripts/test.sh

check: ## format, lints, walls, contract, generated code, dependencies
	@scripts/check.sh

proto: ## write proto/src/generated again from the .proto files; needs no protoc
	@cargo run -q -p proto-codegen

bench: ## measure, as ratios against baselines of the same run
	@cargo build --release --workspace --bins
	@ulimit -n "$$(ulimit -Hn)"; target/release/bench --build

revocation-sessions: ## revoke the credential of SESSIONS=1000 relayed sessions and measure when each ends, on both engines
	@SESSIONS='$(SESSIONS)' scripts/revocation-sessions.sh

revocation-check: ## three brokers, rights taken away under load and faults, the whole history judged; OPS=1000000 SEED=n SABOTAGE=epoch
	@OPS='$(OPS)' SEED='$(SEED)' SABOTAGE='$(SABOTAGE)' scripts/revocation-check.sh

crash-loop: ## kill the broker under load, KILLS=1000 ENGINE=sqlite|postgres ROTATION=all|none|replace|grace|strict SEED=n
	@KILLS='$(KILLS)' ENGINE='$(ENGINE)' ROTATION='$(ROTATION)' SEED='$(SEED)' scripts/crash-loop.sh
SEEDS ?= 10000
FIRST_SEED ?= 1
ACCOUNTS ?= 10000000
DAYS ?= 30
SAMPLES ?= 1000000

simulate: ## the refresh in virtual time with every fault there is; SEEDS=10000 FIRST_SEED=1 BREAK=no-lease
	@cargo build -q --release -p e2e --bin simulate
	@target/release/simulate --seeds $(SEEDS) --first-seed $(FIRST_SEED) $(if $(BREAK),--break $(BREAK))

simulate-fleet: ## the schedule of a whole fleet for a month; ACCOUNTS=10000000 DAYS=30
	@cargo build -q --release -p e2e --bin simulate
	@target/release/simulate --fleet $(ACCOUNTS) --days $(DAYS)

timing: ## whether the time of a refused login tells why it was refused; SAMPLES=1000000 BREAK=bare
	@cargo build -q --release --workspace --bins
	@target/release/timing --samples $(SAMPLES) $(if $(BREAK),--break $(BREAK))

deny: ## install cargo-deny into .tools/, for `make check` to use (about 5 minutes)
	@scripts/deps.sh install

clean: ## remove what was built and what was installed into .tools/
	@cargo clean
	@rm -rf .tools

# Targets of raftkms. `make` alone prints them.
#
# Needed: Go (the version in go.mod) and a C compiler, since hsm/pkcs11 is cgo.

GO        ?= go
BUILD     := build
VERSION   ?= 0.1.0-dev
FUZZTIME  ?= 60s
TIME      ?= 10m
SEED      ?=
PAUSES    ?= 100
DIR       ?= .dev
NODES     ?= 3
MODULE    ?= soft
export CGO_ENABLED := 1

# The end-to-end tests drive real processes; they run alone, so that nothing
# else takes their processors. The race detector would watch the driver only.
E2E       := ./cmd/kmsd ./cmd/kmsctl ./bench/nemesis ./bench/campaign
# The packages whose tests take longest come first: else one of two processors
# waits for them in the end.
LONG      := ./server ./hsm/...
PROGRAMS  := kmsd kmsctl kmsbench

.DEFAULT_GOAL := help
.PHONY: help build run test race unit e2e lint fuzz bench bench-audit bench-cluster bench-hsm bench-overload soak-hsm torture clean toolchain test-deps

help: ## print the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

build: toolchain ## build kmsd, kmsctl and kmsbench into build/
	@mkdir -p $(BUILD)
	@for p in $(PROGRAMS); do \
		echo "building $(BUILD)/$$p"; \
		$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $(BUILD)/$$p ./cmd/$$p || exit 1; \
	done

run: build ## three nodes on this machine, with a demonstration; stays up until Ctrl-C (DIR, NODES, MODULE)
	@exec $(BUILD)/kmsd dev --demo --dir $(DIR) --nodes $(NODES) --module $(MODULE)

test: lint unit e2e ## everything that must pass: lint, all tests with the race detector, end to end

race: unit ## all tests but the end-to-end ones, with the race detector

unit: toolchain test-deps
	$(GO) test -race -timeout 20m $(LONG) $$($(GO) list ./... | grep -v -e '/cmd/kmsd$$' -e '/cmd/kmsctl$$' -e '/bench/nemesis$$' -e '/bench/campaign$$')

e2e: toolchain test-deps
	$(GO) test -count=1 -p 1 $(E2E)

lint: toolchain ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet -trimpath=false ./...
	$(GO) tool staticcheck ./...

fuzz: toolchain test-deps ## every fuzz target for FUZZTIME (60s) each
	@for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n 1 dirname | sort -u); do \
		for f in $$(grep -h '^func Fuzz' $$pkg/*_test.go | sed 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/'); do \
			echo "$$pkg $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 200x $$pkg || exit 1; \
		done; \
	done

bench-audit: ## traces: cost of a record, with the disk's fsync; create-datakey with and without them; search by key over ten million (takes 10 GB of disk for a while, and minutes)
	$(GO) test -run '^$$' -bench '^BenchmarkAppend$$' -benchtime 50000x ./server/audit
	$(GO) test -run '^$$' -bench '^BenchmarkTracedDataKey$$' -benchtime 1x ./server/huawei
	$(GO) test -run '^$$' -bench '^BenchmarkSearchUnpacked$$' -benchtime 9x ./server/audit
	$(GO) test -run '^$$' -bench '^BenchmarkSearch$$' -benchtime 9x -timeout 60m ./server/audit

bench: build test-deps ## create-datakey and decrypt-datakey beside a web server that does nothing, p99 beside one that appends, one node and three, one key and 100,000, all by turns (SoftHSM2); what the door costs; describing, listing and searching among 100,000 keys
	@$(BUILD)/kmsbench ratios
	@$(BUILD)/kmsbench compare --module $(MODULE)
	@echo "the door (signature and permission), at most 4 µs of CPU and 2 allocations a request; of many users, each in turn, without what reading their requests costs:"
	@$(GO) test -run '^$$' -bench '^BenchmarkDoor(OfMany)?$$' -benchtime 100000x ./server/iam | grep '^Benchmark'
	@echo "permission by 20 statements, at most 1 µs and no allocation, of one user after the other; among 10,000 users and 1,000 policies times as much as among 10 and 10:"
	@$(GO) test -run '^$$' -bench '^BenchmarkAuthorizeMany$$' -benchtime 200000x ./fsm | grep '^Benchmark'
	@echo "the same page among 100,000 keys, at most 2 times its time among 1,000, over HTTP (a longer name that nobody asked for before: somewhat more):"
	@$(GO) test -run '^$$' -bench '^BenchmarkAmongManyKeys$$' -benchtime 300x ./server/huawei | grep '^Benchmark'
	@echo "the longest write to the log while its file is written anew, by entries in it:"
	@$(GO) test -run '^$$' -bench '^BenchmarkErase$$' -benchtime 5x ./cluster/storage | grep '^Benchmark'
	@echo "each way in which imported material does not open, beside what opens:"
	@$(GO) test -run '^$$' -bench '^BenchmarkUnwrapFailures$$' -benchtime 300x ./server/kms | grep '^Benchmark'

bench-hsm: build test-deps ## data keys of HSM level beside SOFTWARE level, calls of the device for each, and a device with 1 ms latency (needs SoftHSM2)
	@$(BUILD)/kmsbench hsm

bench-overload: build test-deps ## one node asked for 10 and 50 times more than it can, slow senders, a node that has to refuse, and memory for each of 10,000 idle connections (SoftHSM2)
	@$(BUILD)/kmsbench overload

bench-cluster: build ## what callers notice of fences, dead leaders and hand-overs; messages per data key; proposals beside raft alone, and the full path of a write beside both; a million keys (8 GB of memory, minutes)
	@$(BUILD)/kmsbench cluster

soak-hsm: toolchain test-deps ## a device killed, hung and brought back under load for TIME (10m); prints memory, goroutines and objects, and fails when they grow
	RAFTKMS_TORTURE=$(TIME) $(GO) test -count=1 -timeout 0 -run '^TestDeviceThatDies$$' -v ./hsm/pkcs11

# Of TIME a quarter is for the kills, and the rest for the campaigns, the only tests
# here that a seed decides anything in. What has begun is finished.
TIME_IN_SECONDS = $(shell echo $$(( $$(echo '$(TIME)' | sed 's/h/*3600+/; s/m/*60+/; s/s/+/')0 )))
torture: toolchain test-deps ## for TIME (10m; 1h30m is understood, 1.5h is not) kill -9 under load, then fault campaigns with every kind of fault that this machine can play, in turn, the first one with SEED; after that an upgrade of three nodes, and a leader paused PAUSES (100) times, 6 s each
	RAFTKMS_TORTURE=$$(( $(TIME_IN_SECONDS) / 4 ))s $(GO) test -count=1 -timeout 0 -run '^TestKilledNodesLoseNothing$$' -v ./cmd/kmsd
	RAFTKMS_TORTURE=$$(( $(TIME_IN_SECONDS) * 3 / 4 ))s RAFTKMS_SEED=$(SEED) $(GO) test -count=1 -timeout 0 -run '^TestMixedFaults$$' -v ./bench/campaign
	RAFTKMS_TORTURE=$(TIME) $(GO) test -count=1 -timeout 0 -run '^TestRollingUpgrade$$' -v ./cmd/kmsd
	RAFTKMS_TORTURE=$(PAUSES) $(GO) test -count=1 -timeout 0 -run '^TestPausedLeader$$' -v ./cluster

clean: ## remove what was built and the cluster of make run
	rm -rf $(BUILD) .dev

toolchain:
	@command -v $(GO) >/dev/null 2>&1 || { echo "make: Go is missing; install the version that go.mod names" >&2; exit 1; }
	@command -v $${CC:-gcc} >/dev/null 2>&1 || { echo "make: a C compiler is missing (hsm/pkcs11 is cgo); install gcc and libc6-dev" >&2; exit 1; }

test-deps:
	@scripts/install-test-deps.sh

# What can be done here; make alone lists it. It needs Go, git and make, and
# for the race detector a C compiler.

.DEFAULT_GOAL := help
FUZZTIME ?= 30s
# A module of its own, which uses this one as docs/programs.md says.
example := docs/examples/warehouse
programs := $(patsubst %/main.go,./%,$(wildcard cmd/*/main.go))

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: build
build: ## the programs, into bin/
	CGO_ENABLED=0 go build -trimpath -buildvcs=true -o bin/ $(programs)

.PHONY: demo
demo: build ## see a real site work, and each step checked (under a minute)
	go run ./cmd/testkit/demo -bin bin

.PHONY: demo-sites
demo-sites: build ## see users of two sites meet, and each step checked
	go run ./cmd/testkit/demo -bin bin -sites

.PHONY: faults
faults: build ## break nodes, network and disks beneath clients: minutes; needs root, iproute2, iptables, strace, mkfs.ext4
	go build -o bin/lab ./cmd/testkit/lab
	bin/lab -bin bin -faults all -rounds 5 -length 60s
	bin/lab -bin bin -faults pauses -rounds 1 -length 60s
	bin/lab -bin bin -faults clocks -rounds 1 -length 60s
	bin/lab -bin bin -faults process -insecure -rounds 1 -length 30s
	bin/lab -bin bin -measure deaths -rounds 10
	bin/lab -bin bin -measure crowds

.PHONY: attack
attack: build ## attack a site in all ways at once for ten minutes while users work; needs root, iproute2, control groups
	go build -o bin/attack ./cmd/testkit/attack
	bin/attack -bin bin -keep /dev/shm -length 10m

.PHONY: test
test: lint race fuzz-short ## all that has to pass before a change lands

.PHONY: race
race: ## the tests, with the race detector
	.ci/race

.PHONY: lint
lint: ## form, generated files, modules, and what vet and staticcheck find
	@unformed=$$(gofmt -l $$(git ls-files '*.go')); \
	test -z "$$unformed" || { echo "not formatted by gofmt: $$unformed" >&2; exit 1; }
	go mod tidy -diff
	go run ./proto/generate -check
	go vet ./...
	go tool staticcheck ./...
	staticcheck=$$(go tool -n staticcheck) && cd $(example) && go mod tidy -diff && go vet ./... && $$staticcheck ./...

.PHONY: generate
generate: ## the files made from others: protobuf code, the tables in docs/
	go run ./proto/generate
	go test ./cmd/simpd -run '^TestReference' -update

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (30s)
	@grep -r --include='*_test.go' -oE '^func Fuzz[A-Za-z0-9_]*' . | sed 's/:func / /' | sort | \
	while read -r file target; do \
		echo "fuzz $$target in $$(dirname $$file)"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$(dirname $$file) </dev/null || exit 1; \
	done

.PHONY: fuzz-short
fuzz-short:
	@$(MAKE) --no-print-directory fuzz FUZZTIME=5s

.PHONY: bench
bench: build ## what it costs, beside a minimal relay: the short form (docs/performance.md)
	bin/simpbench all --short

.PHONY: web-test
web-test: build ## the web chat and its modules, under Node and in a real browser; writes docs/images: node, npm, chromium
	go run ./cmd/testkit/webtest -bin bin

.PHONY: console-test
console-test: build ## the operators' console in a real browser, on a site of three nodes: node, npm, chromium
	go run ./cmd/testkit/consoletest -bin bin

.PHONY: chat-test
chat-test: build ## simp chat in real terminals, on a real site: tmux
	go run ./cmd/testkit/chattest -bin bin

.PHONY: examples-test
examples-test: build ## the examples in Python and TypeScript on a real site: python3 with grpc_tools and mypy, mypy-protobuf, node, npm
	go run ./cmd/testkit/examples -bin bin

.PHONY: accounts-test
accounts-test: build ## account sources on real sites, with OpenLDAP, Active Directory and an OpenID provider: slapd, samba (root), node, npm
	go run ./cmd/testkit/accounts -bin bin

.PHONY: deploy-test
deploy-test: ## package, unit, image, compose file and chart, as far as one machine can try them (root)
	deployments/test/run

.PHONY: clean
clean: ## remove what make built
	rm -rf bin

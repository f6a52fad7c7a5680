# SPDX-License-Identifier: Apache-2.0
# Everything a newcomer needs is a target here; `make` alone lists them.

SHELL       := /bin/bash
BIN         := bin/lazuli
LINT        := bin/golangci-lint
OAPI        := bin/oapi-codegen
DIGEST       = $$(sha256sum internal/contract/openapi.yaml | cut -d' ' -f1)
ARGS        ?=
SEED        ?= 1
FIRST       ?= 1
# Tests read the reference data when it lies beside the checkout; they pass without it.
REFERENCE   := $(wildcard $(CURDIR)/../shared/reference)
export LAZULI_REFERENCE_DIR ?= $(REFERENCE)

.DEFAULT_GOAL := help
.PHONY: help build demo test e2e-vm simnode bench campaign seed generate lint fmt golden tidy clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/lazuli
	go build -o $(BIN) ./cmd/lazuli

demo: build ## Deploy a cluster on simulated Azure and stay up (ARGS=--once: delete it again and exit)
	$(BIN) demo $(ARGS)

test: ## Run all tests
	go vet ./...
	go test ./...

simnode: ## Build the node image of real nodes, unless the cache has it (from cold about 8 minutes on two idle cores)
	cd simnode && go run ./cmd/mknode $(ARGS)

e2e-vm: ## Boot real clusters from the node image (needs root and `make simnode`)
	LAZULI_E2E_VM=1 go test -count=1 -v -timeout 45m -run '^(TestRealNodes|TestBrokenBoots|TestKilledSimulatorIsClearedUp)$$' ./test/e2e $(ARGS)

campaign: ## Simulate for ten minutes, then kill at every point, then try each mutant (FIRST=n: the first seed)
	go test -c -o bin/simulation.test ./test/simulation
	GOGC=400 bin/simulation.test -test.v -test.run TestCampaign -test.timeout 20m -campaign 10m -first $(FIRST)
	GOGC=400 bin/simulation.test -test.v -test.run TestKillPoints -test.timeout 60m -every 1
	go test -count=1 -tags mutant -v -run TestMutants -timeout 30m ./test/simulation

seed: ## Replay one simulated life with its trace: make seed SEED=n
	go test -count=1 -v -run 'TestSeed$$' ./test/simulation -seed $(SEED)

bench: ## Print the figures that we hold ourselves to (ARGS=-quick: in a minute, rough)
	@mkdir -p bin && go test -c -o bin/bench ./test/bench
	@LAZULI_BENCH=1 bin/bench -test.run '^TestBench$$' -test.timeout 1h $(ARGS)

$(OAPI): tools/openapi/go.mod tools/openapi/go.sum
	cd tools/openapi && go build -o ../../$(OAPI) github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen

generate: $(OAPI) ## Write what is made from the contract document (internal/contract/openapi.yaml)
	cd internal/wire && ../../$(OAPI) -config oapi-codegen.yaml ../contract/openapi.yaml
	sed -i -e "/^\/\/ Package wire/,+1d" -e "s/^package wire/\n&/" internal/wire/types.gen.go
	sed -i "1i // SPDX-License-Identifier: Apache-2.0\n\n// Made from the document with SHA-256 $(DIGEST)\n" internal/wire/types.gen.go
	cd web && npm ci --no-audit --no-fund && npm run generate
	sed -i "1i // SPDX-License-Identifier: Apache-2.0\n// Made from the document with SHA-256 $(DIGEST)" web/src/api.d.ts
	go test ./internal/contract -run TestReferencePage -update

$(LINT): tools/go.mod tools/go.sum
	cd tools && go build -o ../$(LINT) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

lint: $(LINT) ## Lint; builds the linter the first time
	$(LINT) run ./...

fmt: $(LINT) ## Format
	$(LINT) fmt ./...

golden: ## Write the golden files and the generated pages of docs/ anew, to be reviewed as a diff
	go test $$(grep -rl 'flag.Bool("update"' --include=*_test.go internal | xargs -n1 dirname | sort -u | sed "s|^|./|") -update

tidy: ## Tidy the modules
	go mod tidy
	cd tools && go mod tidy
	cd tools/openapi && go mod tidy

clean: ## Remove what was built
	rm -rf bin

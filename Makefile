.PHONY: help build demo lab compare terminals test check nemesis churn simulate scale bench bench-peers bench-growth picture clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build client, broker and worker into bin/
	@mkdir -p bin
	go build -o bin/ ./cmd/...

demo: ## play the course notes' session and check which worker answers
	@go run ./scripts/demo

lab: ## three workers, the broker, and its page in a browser; Ctrl-C ends it
	@go run ./scripts/lab

compare: ## show why least connections exists, in under a minute
	@go run ./scripts/compare

terminals: ## open the lab in tmux: three workers, the broker with its page, a prompt
	@scripts/terminals.sh

test: ## run all tests; needs nothing but Go
	CGO_ENABLED=0 go test -count=1 ./...

check: ## all that must hold before a change goes in, in some minutes
	@scripts/check.sh

nemesis: ## kill, stop and restart workers under load, for 30 s in each of four labs
	go test -count=1 -v ./internal/e2e -run TestNemesis -nemesis.for 30s

churn: ## add, drain, restart and remove workers under load, for 30 s in each of two labs
	go test -count=1 -v ./internal/e2e -run TestChurn -churn.for 30s

simulate: ## play the whole lab in simulated time, with troubles of all kinds, for a minute
	@mkdir -p bin
	@go test -c -o bin/simulate.test ./internal/simulate
	@bin/simulate.test -test.run TestSimulate -simulate.from 0 -simulate.for 1m

scale: ## show what several brokers that do not know of each other cost, by simulation
	@go run ./scripts/scale

bench: ## run all benchmarks
	go test -run '^$$' -bench . ./...

bench-peers: ## compare the broker with HAProxy and nginx, in about two minutes; needs Linux
	@go run ./scripts/benchpeers

bench-growth: ## what a request costs as the work grows, in some three minutes; needs Linux
	@go run ./scripts/benchgrowth

picture: ## draw the picture at the top of README.md anew; needs Chromium
	go test -count=1 -v ./internal/status -run 'TestPicture$$' -picture page.png

clean: ## remove what build made
	rm -rf bin

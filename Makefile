PREFIX ?= /usr/local
DESTDIR ?=
FUZZTIME ?= 30s
CRASHES ?= 500
COUNT ?= 10
ROUNDS ?= 3
SEEDS ?= 20000
FIRST ?= 0
DURATION ?= 5m
HOSTILE ?= 60s
PROFILE = testdata/bench/midge.pgo
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2

all: build

build:
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -pgo=$(PROFILE) -ldflags '-X main.version=$(VERSION)' -o midge .

run: build
	./midge -c mosquitto.conf.example -v

test:
	.ci/test

test-tools:
	.ci/test-tools

race:
	CGO_ENABLED=1 go test -race ./...

# Kills the broker under load, a great many times.
crash:
	go test -run 'TestCrash$$' -v -timeout 1h ./broker -crashes $(CRASHES)

fuzz:
	.ci/fuzz $(FUZZTIME)

# Many seeds of the simulation, about 20 minutes.
prove:
	.ci/prove $(SEEDS) $(FIRST)

# The broker under a mixed load for that time: it must take no more memory, and hold
# no more descriptors, than it did soon after its start.
soak:
	go test -run 'TestSoak$$' -v -timeout 0 ./broker -soak $(DURATION)

# Everything that hostile clients do, at once: a client that behaves well must not notice.
hostile:
	go test -run 'TestHostile$$' -v -timeout 0 ./broker -hostile $(HOSTILE)

bench:
	COUNT=$(COUNT) ROUNDS=$(ROUNDS) testdata/bench/run

bench-base:
	cp testdata/bench/new.txt testdata/bench/base.txt

# What the compiler is told of where the time goes, see testdata/bench/README.md.
profile:
	testdata/bench/run profile

compare:
	ROUNDS=$(ROUNDS) testdata/bench/run compare

lint:
	.ci/gofmt
	go vet ./...
	$(STATICCHECK) ./...

ci: test-tools lint
	CGO_ENABLED=1 go test -race -short ./...
	.ci/fuzz 5s
	.ci/cross
	CGO_ENABLED=0 GOARCH=386 go test -short ./...
	CI=true $(MAKE) test

install: build
	install -D -m 755 midge '$(DESTDIR)$(PREFIX)/bin/midge'

clean:
	rm -f midge

.PHONY: all build run test test-tools race crash fuzz prove soak hostile bench bench-base profile compare lint ci install clean

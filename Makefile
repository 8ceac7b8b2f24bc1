# One file that needs nothing from the machine it runs on (Linux).
build:
	CGO_ENABLED=1 go build -trimpath -tags osusergo,netgo \
		-ldflags='-s -w -linkmode external -extldflags "-static" -X main.version=$(VERSION)' -o dvmigrate .

test:
	go test ./...

VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)

.PHONY: build test

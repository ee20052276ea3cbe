#!/usr/bin/env bash
# All that must hold before a change goes in. Prints what it runs, and ends at
# the first failure. What this machine has no tool for is left out, and said.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
fuzztime=5s
left_out=()

# run shows a command and runs it.
run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

leave_out() {
    printf '\nLeft out: %s\n' "$1"
    left_out+=("$1")
}

formatted() {
    local files
    printf '$ gofmt -l .\n'
    files=$(gofmt -l .)
    if [ -n "$files" ]; then
        printf 'gofmt would change:\n%s\n' "$files" >&2
        return 1
    fi
}

# races needs cgo, and cgo a C compiler; Go itself needs neither.
races() {
    local cc
    read -ra cc <<<"$(go env CC)"
    if command -v "${cc[0]}" >/dev/null; then
        CGO_ENABLED=1 run go test -race -count=1 ./...
    else
        leave_out "the race detector: there is no C compiler (${cc[0]})"
        run go test -count=1 ./...
    fi
}

# fuzz gives every fuzz target its time. go test takes one target at a time.
# Left to itself it spends most of a short time on making inputs smaller.
fuzz() {
    local found=0 file name
    while IFS=: read -r file name; do
        found=1
        run go test -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" -fuzzminimizetime 10x "./$(dirname "$file")"
    done < <(grep -rho --include='*_test.go' --with-filename '^func Fuzz[A-Za-z0-9_]*' cmd internal scripts | sed 's/func //')
    if [ $found = 0 ]; then
        echo 'no fuzz target was found' >&2
        return 1
    fi
}

shells() {
    if command -v shellcheck >/dev/null; then
        run shellcheck scripts/*.sh scripts/*/*.sh .ci/run
    else
        leave_out 'shellcheck: it is not installed'
    fi
}

# monitoring has promtool check scripts/monitoring, and what a broker gives: the
# tests there run it, if it is installed.
monitoring() {
    if command -v promtool >/dev/null; then
        run go test -count=1 -run Promtool -v ./scripts/monitoring
    else
        leave_out 'promtool, for scripts/monitoring: it is not installed'
    fi
}

crossbuilds() {
    local os arch
    for os in linux darwin windows; do
        for arch in amd64 arm64; do
            run env CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -buildvcs=false -o /dev/null ./...
        done
    done
    run env CGO_ENABLED=0 GOOS=windows go vet ./...
}

# under_wine runs the Windows builds. Exit code 3 says that they can't be run here.
under_wine() {
    local said code=0
    said=$(run scripts/wine/wine.sh | tee >(cat >&2)) || code=$?
    case $code in
    0) ;;
    3) leave_out "the Windows builds under wine, ${said##*$'\n'}" ;;
    *) return 1 ;;
    esac
}

formatted
run go test -count=1 ./internal/house # the links in all documents, and the size of README.md
run go vet ./...
run go run "$staticcheck" -checks inherit,ST1000,ST1020,ST1021,ST1022 ./...
run go mod tidy -diff
shells
monitoring
races
run go test -count=1 ./internal/simulate -run TestSimulate -simulate.for 20s
fuzz
crossbuilds
under_wine

printf '\nAll checks passed.\n'
for what in ${left_out[@]+"${left_out[@]}"}; do
    printf 'Left out: %s\n' "$what"
done

#!/usr/bin/env bash
# Runs the Windows builds under wine: the unit tests, and the six commands of the
# course notes with client.exe, broker.exe and worker.exe.
#
#	usage: scripts/wine/wine.sh
#
# It ends with exit code 0 if all passed, 1 if something failed, and 3 if nothing
# can be said here; then the last line says why. Tests of e2e, programs and
# scripts are left out: they build programs, and there is no Go under wine.
#
# What it starts has a network and a wine prefix of its own, where that is
# possible, and is gone when it ends.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# not_tested ends the script: wine's own troubles are no fault of the project.
not_tested() {
    printf 'not tested: %s\n' "$1"
    exit 3
}

# in_a_box runs the script again, for at most three minutes, and in a network
# namespace if there is a way: the session's ports are free there.
in_a_box() {
    local way box=()
    for way in 'unshare -n' 'unshare -rn'; do
        # shellcheck disable=SC2086 # two words
        if $way ip link set lo up 2>/dev/null; then
            read -ra box <<<"$way"
            break
        fi
    done
    [ ${#box[@]} != 0 ] || echo 'No network namespace: the session needs ports 8000 and 9002 to 9004 of this machine.'
    exec timeout --preserve-status --kill-after=100 180 ${box[@]+"${box[@]}"} scripts/wine/wine.sh in-a-box "${#box[@]}"
}

# clean_up ends all that runs in the prefix.
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    timeout 10 wineserver -k || true
    timeout 10 wineserver -w || true
    rm -rf "$dir"
}

# make_prefix makes a directory with what Windows has on C:, starts the wineserver,
# which does all the networking, and shows that a program built by Go runs.
#
# What is started first goes on running, and must not hold the output of go test.
# The redirections are the commands' own: within them not_tested would be unheard.
make_prefix() {
    x86_64-w64-mingw32-gcc -shared -O2 -s -o "$dir/bcryptprimitives.dll" scripts/wine/bcryptprimitives.c
    mkdir "$WINEPREFIX"
    if ! timeout 10 wineserver -p &>"$dir/wineboot.txt" || ! timeout 60 wine wineboot --init &>>"$dir/wineboot.txt"; then
        not_tested "wine did not start: $(tail -n 1 "$dir/wineboot.txt")"
    fi
    mv "$dir/bcryptprimitives.dll" "$WINEPREFIX/drive_c/windows/system32/"
    timeout 30 wine "$dir/client.exe" -h >/dev/null || not_tested "client.exe does not start under wine $(wine --version)"
}

# unit_tests runs the tests, and shows what summary.awk makes of what they say. It
# ends as that does: with 1 if something failed, and with 3 if something hung.
unit_tests() {
    local code=0 rooms
    rooms=$(go list ./... | grep -v -e /internal/e2e -e /internal/programs -e /scripts/)
    # shellcheck disable=SC2086 # one word for each room
    go test -v -count=1 -timeout 60s -exec wine $rooms >"$dir/tests.txt" 2>&1 || code=$?
    awk -v code=$code -f scripts/wine/summary.awk "$dir/tests.txt"
}

# serve starts a server, and returns when it listens: serve NAME PROGRAM ARG…
serve() {
    local name=$1 program=$2 out=$dir/$1.txt
    shift 2
    : >"$out"
    wine "$dir/$program.exe" "$@" >>"$out" 2>&1 &
    for _ in {1..200}; do
        grep -q 'Listening on port' "$out" && return
        grep -q 'the address is in use' "$out" && not_tested "the session: $(cat "$out")"
        sleep 0.1
    done
    not_tested "$name has not said within 20 s that it listens: $(cat "$out")"
}

# ask runs one client, and checks which worker has answered it: ask WORKER ARG…
ask() {
    local worker=$1
    shift
    printf 'client.exe %s\n' "$*"
    timeout 30 wine "$dir/client.exe" "$@" || { echo "it failed: exit code $?"; return 1; }
    asked+=("[Broker] Response from $worker")
    for _ in {1..50}; do # the broker's line may come after the answer
        said=$(grep -o '^\[Broker\] Response from [^:]*' "$dir/broker.txt") || true
        [ "$said" != "$(printf '%s\n' "${asked[@]}")" ] || return 0
        sleep 0.1
    done
    printf 'want an answer by %s; the broker says:\n%s\n' "$worker" "$said"
    return 1
}

# session is that of the course notes.
session() {
    local asked=() said
    serve worker-1 worker 1
    serve worker-2 worker 2
    serve worker-3 worker 3
    serve broker broker
    ask Worker-1 Short round_robin
    ask Worker-1 Long least_connections
    ask Worker-2 Long round_robin
    ask Worker-2 Short least_connections
    ask Worker-3 Short round_robin
    ask Worker-1 Short round_robin
    echo 'six commands: answered by Worker 1, 1, 2, 2, 3, 1, as in the course notes'
}

for tool in wine wineserver x86_64-w64-mingw32-gcc timeout; do
    command -v $tool >/dev/null || not_tested "$tool is not installed"
done
[ "${1-}" = in-a-box ] || in_a_box
[ "$2" = 0 ] || ip link set lo up

dir=$(mktemp -d)
export WINEPREFIX=$dir/prefix WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml=' # neither .NET nor a browser is asked for
export GOOS=windows GOARCH=amd64 CGO_ENABLED=0
unset DISPLAY
trap clean_up EXIT
trap 'not_tested "it took longer than three minutes"' TERM

go build -buildvcs=false -o "$dir/" ./cmd/...
make_prefix
unit_tests >"$dir/report.txt" 2>&1 &
tests=$!
session >"$dir/session.txt" 2>&1 & # it mostly waits
session=$!
code=0
wait $tests || code=$?
wait $session || code=$((code == 0 || code == 3 ? $? : code))
cat "$dir/report.txt" "$dir/session.txt"
if [ $code = 3 ]; then
    grep -h '^not tested' "$dir/report.txt" "$dir/session.txt" | tail -n 1
fi
exit $code

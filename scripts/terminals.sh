#!/usr/bin/env bash
# Opens the lab in tmux: three workers, the broker with its page, and a prompt for
# the client.
# A second call comes back to the session that the first one opened.

set -euo pipefail

page=127.0.0.1:8080

usage='usage: scripts/terminals.sh [session]

  [session]  a name for the tmux session (default balancelab)

In the last pane: client Long least_connections
In a browser:     http://'$page'/
'

# pane runs inside a pane: a program, if there is one, and then a prompt that
# has the programs on its PATH. After Ctrl-C the prompt is there to start the
# program again.
pane() {
    PATH="$PWD/bin:$PATH"
    export PATH
    if [ $# -gt 0 ]; then
        trap : INT
        echo "\$ $*"
        "$@" || echo "($1 ended with exit code $?)"
        trap - INT
    else
        leaving
    fi
    exec "${SHELL:-/bin/sh}"
}

leaving() {
    local prefix
    prefix=$(tmux show-options -gv prefix) # C-b, unless it was configured
    cat <<END
Try:         client Long least_connections
             client Short round_robin
The page:    http://$page/
Leave:       $prefix d   (scripts/terminals.sh $session comes back)
End it all:  tmux kill-session -t '=$session'
END
}

# start opens the session, detached.
start() {
    make build
    local self=$PWD/scripts/terminals.sh
    tmux new-session -d -s "$session" -n lab -x 160 -y 48 "$self" --pane "$session" worker 1
    # From here on a failure must not leave half a lab behind.
    trap 'tmux kill-session -t "=$session" 2>/dev/null' EXIT
    label worker-1
    split worker-2 worker 2
    split worker-3 worker 3
    split broker broker -status "$page" -control
    split client
    tmux set-option -w -t "=$session:lab" pane-border-status top >/dev/null
    tmux set-option -w -t "=$session:lab" pane-border-format ' #{@program} ' >/dev/null
    trap - EXIT
}

# split opens one more pane, which becomes the current one.
split() {
    local name=$1
    shift
    tmux split-window -t "=$session:lab" "$self" --pane "$session" "$@"
    # Making room after each split: the next one needs it.
    tmux select-layout -t "=$session:lab" tiled >/dev/null
    label "$name"
}

# label names the current pane. A title would do, had shells not the habit of
# changing it.
label() {
    tmux set-option -p -t "=$session:lab" @program "$1"
}

# show brings the session to this terminal, if this is one.
show() {
    if [ ! -t 0 ] || [ ! -t 1 ]; then
        echo "This is no terminal: the session $session runs detached."
        echo "To see it:   tmux attach -t '=$session'"
        leaving
    elif [ -n "${TMUX:-}" ]; then
        tmux switch-client -t "=$session"
    else
        tmux attach-session -t "=$session"
    fi
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = --pane ]; then
    session=$2
    shift 2
    pane "$@"
fi

case $#:${1:-} in
0: | 1:[!-]*) session=${1:-balancelab} ;;
1:-h | 1:--help)
    printf %s "$usage"
    exit 0
    ;;
*)
    printf %s "$usage" >&2
    exit 2
    ;;
esac
case $session in
*[!A-Za-z0-9_-]*)
    echo "terminals.sh: the session's name may have letters, digits, - and _: $session" >&2
    exit 2
    ;;
esac
if ! command -v tmux >/dev/null; then
    echo "terminals.sh: tmux is not installed. Install it (apt install tmux, brew install tmux)," >&2
    echo "or open five terminals: worker 1, worker 2, worker 3, broker, and one for the client." >&2
    exit 1
fi
if tmux has-session -t "=$session" 2>/dev/null; then
    echo "The session $session is there already."
else
    start
fi
show

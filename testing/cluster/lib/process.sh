# shellcheck shell=bash
# Processes of a cluster. Each carries a mark in its environment, which distinguishes it from all other processes,
# even if its pid file is lost or its pid is used again.

mark() { echo "KUBECI_CLUSTER_STATE=$state"; }

# start NAME COMMAND...: in the background, with log/NAME.log and pid/NAME. Containers inherit which signals are ignored, and
# nothing depends on the environment of the user who starts a cluster.
start() {
  local process=$1
  shift
  env -i --default-signal PATH="$PATH" HOME="$HOME" "$(mark)" setsid "$@" >>"$state/log/$process.log" 2>&1 </dev/null 9>&- &
  echo $! >"$state/pid/$process"
  disown
}

# running NAME: prints its pid, if it runs and is ours
running() {
  local pid
  pid=$(cat "$state/pid/$1" 2>/dev/null) || return 1
  is_ours "$pid" && echo "$pid"
}

is_ours() { [[ -n $1 ]] && grep -qzsxF "$(mark)" "/proc/$1/environ"; }

stop() {
  local pid
  pid=$(running "$1") || return 0
  kill -KILL "$pid" 2>/dev/null || true
  wait_for 10 "end of $1" gone "$pid"
  rm -f "$state/pid/$1"
}

gone() { ! is_ours "$1"; }

our_pids() { grep -lzsxF "$(mark)" /proc/[0-9]*/environ | cut -d/ -f3 || true; }

# No data of a cluster is kept, so its processes need not end in order.
# The end of a node's first process ends all processes of the node.
stop_everything() {
  local pids deadline=$((SECONDS + 20))
  while pids=$(our_pids) && [[ -n $pids ]]; do
    ((SECONDS < deadline)) || fail "these processes do not end: ${pids//$'\n'/ }"
    # shellcheck disable=SC2086 # a list
    kill -KILL $pids 2>/dev/null || true
    sleep 0.05
  done
}

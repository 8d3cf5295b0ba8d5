# shellcheck shell=bash
# What every script here needs: where things are, and how to speak.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state_root=${KUBECI_STATE_DIR:-$(cd "$here/../.." && pwd)/target/cluster}

# The clients below talk to addresses of this machine only.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY

# use_cluster NAME: sets the variables that the rest of the library works on.
use_cluster() {
  [[ $1 =~ ^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$ ]] || fail "not a usable name: $1 (a-z, 0-9, -)"
  name=$1
  mkdir -p "$state_root"
  state_root=$(realpath "$state_root")
  state=$state_root/$name
  kubeconfig=$state/admin.kubeconfig
}

cluster_names() {
  find "$state_root" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' 2>/dev/null | sort
}

# One script at a time changes this checkout's clusters. Descriptor 9 stays open until the script ends; whatever runs
# on after it must close it.
lock_clusters() {
  exec 9<"$state_root"
  flock 9
}

say() {
  local ms=$((($(date +%s%N) - started_at) / 1000000))
  printf '%3d.%d s  %s\n' $((ms / 1000)) $((ms % 1000 / 100)) "$*"
}
started_at=$(date +%s%N)

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# usage_of FILE: a script's help is the comment that it starts with.
usage_of() { sed -n '2,/^[^#]/{/^#/!d; s/^# \{0,1\}//; p}' "$1"; }

# wait_for SECONDS WHAT COMMAND...
wait_for() {
  local seconds=$1 what=$2 deadline
  shift 2
  deadline=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "$what: not within $seconds s; see $state/log"
    sleep 0.1
  done
}

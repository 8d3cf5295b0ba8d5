# shellcheck shell=bash
# Functions that every script here uses: paths and messages.

# shellcheck source=/dev/null
for part in environment progress; do . "$(dirname "${BASH_SOURCE[0]}")/../../lib/$part.sh"; done

here=$root/testing/cluster
state_root=${KUBECI_STATE_DIR:-$root/target/cluster}

# use_cluster NAME: sets the variables that the rest of the library works on.
use_cluster() {
  [[ $1 =~ ^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$ ]] || fail "invalid name $1; use a-z, 0-9 and -"
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

# wait_for SECONDS WHAT COMMAND...
wait_for() {
  local seconds=$1 what=$2 deadline
  shift 2
  deadline=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "timeout after $seconds s: $what; see $state/log"
    sleep 0.1
  done
}

# shellcheck shell=bash
# The health of the cluster: one line for each part.

# report: prints one line for each part; fails if a part is not healthy
report() {
  local well=0 part node pid
  for part in "${control_plane[@]}"; do
    if pid=$(running "$part"); then
      line "$part" "$pid" running
    else
      line "$part" - "not running"
      well=1
    fi
  done
  if api_ready; then
    line api - ready
  else
    line api - "not ready"
    well=1
  fi
  for node in $(node_names); do
    report_node "$node" || well=1
  done
  return $well
}

report_node() {
  local node=$1 well=0 part pid
  for part in containerd kubelet proxy; do
    if pid=$(running "$node.$part"); then
      line "$node.$part" "$pid" running
    else
      line "$node.$part" - "not running"
      well=1
    fi
  done
  if node_ready "$node"; then
    line "$node" "$(node_pid "$node")" ready
  else
    line "$node" "$(node_pid "$node" || echo -)" "not ready"
    well=1
  fi
  return $well
}

line() { printf '%-20s %8s  %s\n' "$@"; }

node_ready() {
  local query='{.status.conditions[?(@.type=="Ready")].status}'
  [[ $(kubectl get node "$1" --request-timeout 2s -o jsonpath="$query" 2>/dev/null) == True ]]
}

healthy() { [[ -s $state/nodes && -s $kubeconfig ]] && report >/dev/null; }

# shellcheck shell=bash
# Nodes. Each is a set of namespaces (mounts, pids, network) held by its first process, with containerd, kubelet and
# kube-proxy in it; ending the first process ends the node with all its containers and mounts.

node_names() { seq -f 'node%.0f' "$(cat "$state/nodes")"; }

start_node() {
  local node=$1 dir=$state/$1 pid
  mkdir -p "$dir"
  make_cgroup "$node"
  start "$node" unshare --mount --pid --net --fork --kill-child "$here/lib/node-init" "$dir" "$state" "$cache" "$here"
  wait_for 10 "$node" node_made "$node"
  pid=$(node_pid "$node")
  connect_node "$node" "$pid"
  write_containerd_config "$node"
  write_kubelet_config "$node"
  start_containerd "$node"
}

start_containerd() { start_in "$1" containerd containerd --config "$state/$1/containerd.toml"; }

# join_node: what a node runs once the API server is there
join_node() {
  wait_for 20 "containerd of $1" run_in "$1" ctr version
  start_kubelet "$1"
  start_in "$1" proxy "$binary" kube-proxy --kubeconfig="$state/kubeconfig/proxy" --hostname-override="$1" \
    --proxy-mode=iptables --cluster-cidr="$pod_cidr" --conntrack-max-per-core=0 \
    --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
}

start_kubelet() {
  start_in "$1" kubelet "$binary" kubelet --config="$state/$1/kubelet.yaml" \
    --kubeconfig="$state/kubeconfig/$1" --hostname-override="$1" --node-ip="$(node_ip "$1")"
}

# node_pid NODE: its first process, which is the child of unshare
node_pid() {
  local unshare
  unshare=$(running "$1") && pgrep -P "$unshare" -o
}

node_made() { run_in "$1" test -e /run/ready; }

# run_in NODE COMMAND...
run_in() {
  local node=$1 pid
  shift
  pid=$(node_pid "$node") || return 1
  nsenter --target "$pid" --mount --pid --net "$@"
}

# start_in NODE NAME COMMAND...
start_in() {
  local node=$1 process=$1.$2 pid
  shift 2
  pid=$(node_pid "$node") || fail "$node is not running"
  start "$process" nsenter --target "$pid" --mount --pid --net "$@"
  # nsenter waits for the process that is meant
  wait_for 5 "$process" child_of "$state/pid/$process"
  child_of "$state/pid/$process" >"$state/pid/$process.new"
  mv "$state/pid/$process.new" "$state/pid/$process"
}

child_of() { pgrep -P "$(cat "$1")" -o; }

cni_plugins() {
  local dir
  for dir in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    [[ -x $dir/bridge && -x $dir/host-local && -x $dir/portmap ]] && echo "$dir" && return
  done
  return 0
}

write_containerd_config() {
  local node=$1 dir=$state/$1
  mkdir -p "$dir/certs.d/_default" "$dir/cni"
  cat >"$dir/containerd.toml" <<EOF
version = 2
# where a process may not lower its oom_score_adj, every pod would fail
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$(cni_plugins)"
    conf_dir = "$dir/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$dir/certs.d"
EOF
  cat >"$dir/certs.d/_default/hosts.toml" <<EOF
server = "http://$registry"
[host."http://$registry"]
  capabilities = ["pull", "resolve"]
EOF
  cat >"$dir/cni/10-pods.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$(node_pod_cidr "$node")"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
}

write_kubelet_config() {
  local dir=$state/$1
  : >"$dir/resolv.conf"
  cat >"$dir/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$state/pki/ca.crt"}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup/$1
clusterDNS: [$dns_ip]
clusterDomain: cluster.local
resolvConf: "$dir/resolv.conf"
# on a developer's machine the kubelet must not refuse pods because of swap, a full disk or old cgroups
failSwapOn: false
failCgroupV1: false
evictionHard: {}
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
imageGCHighThresholdPercent: 100
# a lost node becomes not ready after 8 s, so the kubelet renews its Lease often
nodeLeaseDurationSeconds: 8
nodeStatusUpdateFrequency: 4s
# containers that tests kill are restarted soon
featureGates: {KubeletCrashLoopBackOffMax: true}
crashLoopBackOff: {maxContainerRestartPeriod: 1s}
# not the bottleneck
maxPods: 250
podsPerCore: 0
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
kubeAPIQPS: 500
kubeAPIBurst: 1000
EOF
}

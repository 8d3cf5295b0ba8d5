# shellcheck shell=bash
# The slot of a cluster on the machine. The bridge kubeci<slot> claims the slot, because only one cluster can create it;
# its alias is the owner. All addresses, ports and cgroups are derived from the slot. The kernel removes the
# interfaces, routes and iptables rules of a node with its network namespace.

slots=12

claim_slot() {
  for ((slot = 0; slot < slots; slot++)); do
    use_slot "$slot"
    slot_is_usable || continue
    ip link add "$bridge" type bridge 2>/dev/null || continue
    ip link set "$bridge" alias "$state"
    ip addr add "$host_ip/24" dev "$bridge"
    ip link set "$bridge" up
    return
  done
  fail "no free slot; remove one of these clusters: $(slot_owners | tr '\n' ' ')"
}

use_slot() {
  slot=$1
  bridge=kubeci$slot
  prefix=10.$((180 + slot))
  host_ip=$prefix.0.1
  service_cidr=$prefix.64.0/18
  service_ip=$prefix.64.1
  dns_ip=$prefix.64.10
  pod_cidr=$prefix.128.0/17
  port_base=$((24000 + slot * 10))
  api_port=$port_base
  etcd_port=$((port_base + 1))
  etcd_peer_port=$((port_base + 2))
  controller_manager_port=$((port_base + 3))
  scheduler_port=$((port_base + 4))
  registry_port=$((port_base + 5))
  registry=$host_ip:$registry_port
  cgroup=kubeci$slot
}

node_ip() { echo "$prefix.0.$((10 + ${1#node}))"; }
node_pod_cidr() { echo "$prefix.$((128 + (${1#node} - 1) * 16)).0/20"; }

slot_is_usable() {
  [[ ! -e /sys/class/net/$bridge ]] &&
    [[ -z $(ip route show table all | grep -E "(^| )$prefix\.") ]] &&
    [[ -z $(ss -Hltn "sport >= :$port_base and sport <= :$registry_port") ]]
}

# find_slots: all slots of this cluster; more than one only after a crash
find_slots() {
  local i
  for ((i = 0; i < slots; i++)); do
    [[ $(cat "/sys/class/net/kubeci$i/ifalias" 2>/dev/null) == "$state" ]] && echo "$i"
  done
  return 0
}

slot_owners() { cat /sys/class/net/kubeci*/ifalias 2>/dev/null; }

# connect_node NODE PID: a cable between the bridge and the network namespace of that process
connect_node() {
  local node=$1 pid=$2 cable=kubeci$slot-${1#node} ip
  ip=$(node_ip "$node")
  ip link add "$cable" type veth peer name eth0 netns "$pid"
  ip link set "$cable" master "$bridge" up
  ip route add "$(node_pod_cidr "$node")" via "$ip" dev "$bridge"
  # services answer the host too, by way of the first node
  [[ $node != node1 ]] || ip route add "$service_cidr" via "$ip" dev "$bridge"
  nsenter --target "$pid" --net bash -euc "
    ip link set lo up
    ip addr add $ip/24 dev eth0
    ip link set eth0 up
    ip route add default via $host_ip
    $(routes_to_other_nodes "$node")
    iptables -A FORWARD -d $service_cidr -j REJECT
    echo 1 >/proc/sys/net/ipv4/ip_forward
    echo 1 2>/dev/null >/proc/sys/net/bridge/bridge-nf-call-iptables || true"
}

routes_to_other_nodes() {
  local other
  for other in $(node_names); do
    [[ $other == "$1" ]] || echo "ip route add $(node_pod_cidr "$other") via $(node_ip "$other")"
  done
}

# release_slots: removes all resources of the cluster. Interfaces on the bridge are removed with their nodes.
release_slots() {
  local i
  for i in $(find_slots); do
    use_slot "$i"
    remove_cables
    remove_cgroups
    ip link delete "$bridge"
  done
}

remove_cables() {
  local cable
  for cable in /sys/class/net/"$bridge"-*; do
    [[ -e $cable ]] || continue
    ip link delete "${cable##*/}" 2>/dev/null || true
  done
}

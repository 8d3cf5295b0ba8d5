# shellcheck shell=bash
# The control groups of a cluster's containers: /kubeci<slot>/<node>, in each hierarchy of cgroup v1 or the one of v2.

cgroup_hierarchies() {
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    echo /sys/fs/cgroup
  else
    awk '$9 ~ /^cgroup2?$/ || $8 ~ /^cgroup2?$/ {print $5}' /proc/self/mountinfo
  fi
}

# make_cgroup NODE: the kubelet fills in the levels below its root, not those above it
make_cgroup() {
  local hierarchy
  for hierarchy in $(cgroup_hierarchies); do
    mkdir -p "$hierarchy/$cgroup/$1"
    if [[ -e $hierarchy/cgroup.controllers ]]; then
      pass_controllers_down "$hierarchy" "$hierarchy/$cgroup" "$hierarchy/$cgroup/$1"
    elif [[ -e $hierarchy/cpuset.cpus ]]; then
      copy_cpuset "$hierarchy" "$hierarchy/$cgroup" "$hierarchy/$cgroup/$1"
    fi
  done
}

pass_controllers_down() {
  local group controller controllers
  for group; do
    read -ra controllers <"$group/cgroup.controllers" || true
    for controller in "${controllers[@]}"; do
      echo "+$controller" 2>/dev/null >"$group/cgroup.subtree_control" || true
    done
  done
}

copy_cpuset() {
  local from=$1 group file
  shift
  for group; do
    for file in cpuset.cpus cpuset.mems; do cat "$from/$file" >"$group/$file"; done
  done
}

remove_cgroups() {
  local hierarchy deadline=$((SECONDS + 10))
  for hierarchy in $(cgroup_hierarchies); do
    # the kernel needs a moment to empty a group whose processes were killed
    while [[ -d $hierarchy/$cgroup ]] && ((SECONDS < deadline)); do
      find "$hierarchy/$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
  done
}

# shellcheck shell=bash
# The control groups of a cluster's containers: /kubeci<slot>/<node>, in each hierarchy of cgroup v1 or the one of v2.

cgroup_hierarchies() {
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    echo /sys/fs/cgroup
  else
    awk '$9 == "cgroup" || $8 == "cgroup" {print $5}' /proc/self/mountinfo
  fi
}

make_cgroup() {
  local hierarchy file
  for hierarchy in $(cgroup_hierarchies); do
    mkdir -p "$hierarchy/$cgroup/$1"
    # the kubelet fills in the levels below its root, not those above it
    for file in cpuset.cpus cpuset.mems; do
      [[ -e $hierarchy/$file && -e $hierarchy/cgroup.procs && ! -e $hierarchy/cgroup.controllers ]] || continue
      cat "$hierarchy/$file" >"$hierarchy/$cgroup/$file"
      cat "$hierarchy/$file" >"$hierarchy/$cgroup/$1/$file"
    done
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

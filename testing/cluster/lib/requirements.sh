# shellcheck shell=bash
# What the machine must have: Debian packages are installed when missing, anything else is asked for.

# command:package
needed=(
  containerd:containerd runc:runc iptables:iptables conntrack:conntrack busybox:busybox-static
  ip:iproute2 openssl:openssl unshare:util-linux flock:util-linux pgrep:procps mount:mount tar:tar
)

require_machine() {
  local packages
  [[ $(uname -s) == Linux ]] || fail "needs Linux; this is $(uname -s)"
  ((EUID == 0)) || fail "needs root: it creates network interfaces, mounts and cgroups"
  packages=$(missing_packages)
  [[ -z $packages ]] || install_packages "$packages"
}

missing_packages() {
  local pair
  for pair in "${needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
  done | sort -u | tr '\n' ' '
  [[ -n $(cni_plugins) ]] || echo containernetworking-plugins
}

cni_plugins() {
  local dir
  for dir in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    [[ -x $dir/bridge && -x $dir/host-local && -x $dir/portmap ]] && echo "$dir" && return
  done
  return 0
}

install_packages() {
  command -v apt-get >/dev/null || fail "please install: $1"
  say "installing $1"
  # shellcheck disable=SC2086 # a list
  (keep_services_off && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get \
    -o DPkg::Lock::Timeout=120 install -y --no-install-recommends $1) >"$state_root/apt.log" 2>&1 ||
    fail "apt-get failed, see $state_root/apt.log; needed: $1"
}

# Debian starts a package's service when it is installed; clusters start their own containerd.
keep_services_off() {
  [[ ! -e /usr/sbin/policy-rc.d ]] || return 0
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
}

# shellcheck shell=bash
# The same environment for every script here. Sourced first.

unset CDPATH GREP_OPTIONS TAR_OPTIONS POSIXLY_CORRECT MAKEFLAGS MFLAGS MAKELEVEL
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
log_dir=$root/target/log

# A closed descriptor would be given to the next file that is opened.
{ : <&0; } 2>/dev/null || exec </dev/null
{ : >&1; } 2>/dev/null || exec >/dev/null
{ : >&2; } 2>/dev/null || exec 2>/dev/null
# Images and pods of other users hold what is made here.
umask 022
export LC_ALL=C
unset LANGUAGE
[[ -d ${TMPDIR-/} ]] || unset TMPDIR
[[ ${HOME-} ]] || { unset HOME && export HOME=~; }
# Folders that are not in the PATH of sudo, su, or a shell started before the installation.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin

# Rust: the toolchain, the target folder and the targets that the scripts count on.
toolchain_says() { sed -n "s/^$1 = \"\(.*\)\"/\1/p" "$root/rust-toolchain.toml"; }
RUSTUP_TOOLCHAIN=$(toolchain_says channel)
target=$(uname -m)-unknown-linux-musl
[[ ${CARGO_TARGET_DIR:=$root/target} == /* ]] || CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR
export RUSTUP_TOOLCHAIN CARGO_TARGET_DIR
unset CARGO_BUILD_TARGET CC CXX AR CFLAGS CXXFLAGS CPPFLAGS LDFLAGS
# Go: this machine's, without C, from the module's own lists.
export GO111MODULE=on GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=0
unset GOOS GOARCH GOEXPERIMENT

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# forget_proxies: from here on, all requests are sent to addresses of this machine
forget_proxies() { unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY; }

# require WHAT...: see testing/requirements. Once, however many scripts call each other.
require() {
  local what lacking=()
  for what; do [[ " ${KUBECI_CHECKED-} " == *" $what "* ]] || lacking+=("$what"); done
  ((${#lacking[@]} == 0)) || "$root/testing/requirements" "${lacking[@]}"
  export KUBECI_CHECKED="${KUBECI_CHECKED-} $*"
}

# usage_of FILE: a script's help is the comment that it starts with.
usage_of() { sed -n '2,/^[^#]/{/^#/!d; s/^# \{0,1\}//; p}' "$1"; }

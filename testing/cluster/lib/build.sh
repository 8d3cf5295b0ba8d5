# shellcheck shell=bash
# Kubernetes, etcd and crane as one binary, built once per version and kept outside the checkout.

kubernetes_version=$(awk '$1 == "k8s.io/kubernetes" {print $2}' "$here/go.mod")

binary_dir() {
  local hash
  hash=$(cat "$here"/go.mod "$here"/go.sum "$here"/*.go | sha256sum | cut -c1-12)
  echo "${XDG_CACHE_HOME:-$HOME/.cache}/kubeci/cluster/$kubernetes_version-$hash"
}

is_built() { [[ -x $(binary_dir)/cluster ]]; }

# use_binary: sets $cache and $binary, builds if need be.
use_binary() {
  cache=$(binary_dir)
  binary=$cache/cluster
  is_built || build_binary
}

build_binary() {
  local version=k8s.io/component-base/version minor=${kubernetes_version#v1.} total
  mkdir -p "$cache"
  total=$(packages_of_kubernetes | wc -l)
  part kubernetes "packages/$total" "building Kubernetes $kubernetes_version, once" go -C "$here" build -v -trimpath \
    -o "$binary.$$" -ldflags "-s -w -X $version.gitVersion=$kubernetes_version -X $version.gitMajor=1 \
    -X $version.gitMinor=${minor%%.*}" . || fail "Kubernetes could not be built"
  mv "$binary.$$" "$binary"
}

packages_of_kubernetes() { go -C "$here" list -deps .; }

go_architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
  esac
}

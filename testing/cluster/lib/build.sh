# shellcheck shell=bash
# Kubernetes, etcd and crane as one binary, built once per version and kept outside the checkout.

kubernetes_version=$(awk '$1 == "k8s.io/kubernetes" {print $2}' "$here/go.mod")

binary_dir() {
  local hash
  hash=$(cat "$here"/go.mod "$here"/go.sum "$here"/*.go | sha256sum | cut -c1-12)
  echo "${XDG_CACHE_HOME:-$HOME/.cache}/kubeci/cluster/$kubernetes_version-$hash"
}

# use_binary: sets $cache and $binary, builds if need be.
use_binary() {
  cache=$(binary_dir)
  binary=$cache/cluster
  [[ -x $binary ]] || build_binary
}

build_binary() {
  local version=k8s.io/component-base/version minor
  command -v go >/dev/null || fail "needs Go 1.24 or later to build Kubernetes: https://go.dev/doc/install"
  minor=${kubernetes_version#v1.}
  mkdir -p "$cache"
  say "building Kubernetes $kubernetes_version from source, about 4 minutes, once"
  (cd "$here" && go build -trimpath -o "$binary.$$" -ldflags "-s -w \
    -X $version.gitVersion=$kubernetes_version -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}" .) 9>&- ||
    fail "the build failed"
  mv "$binary.$$" "$binary"
}

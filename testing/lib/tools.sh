# shellcheck shell=bash
# Programs that check and describe dependencies: each is built once per version and kept outside the checkout.

cargo_deny=${XDG_CACHE_HOME:-$HOME/.cache}/kubeci/cargo-deny/0.20.2/bin/cargo-deny
cargo_cyclonedx=${XDG_CACHE_HOME:-$HOME/.cache}/kubeci/cargo-cyclonedx/0.5.9/bin/cargo-cyclonedx

# build_tool PROGRAM: without optimization, since each is built in a minute and runs for two seconds
build_tool() {
  local name=${1##*/} folder=${1%/bin/*}
  [[ -x $1 ]] || part "$name" cargo "building $name ${folder##*/}, once" env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=0 \
    cargo install --debug --locked --root "$folder" --version "${folder##*/}" "$name"
}

# deny COMMAND...: cargo-deny, about what is built for the images and the tests
deny() { "$cargo_deny" --locked --target "$target" "$@"; }

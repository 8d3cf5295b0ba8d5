# shellcheck shell=bash
# The cluster's registry, and the few images that it starts with. Nodes pull every image from it, independent of
# the registry in the name of the image.

start_registry() {
  mkdir -p "$state/registry"
  start registry "$binary" crane registry serve --disk "$state/registry" --address "$registry"
  wait_for 10 registry port_open "${registry%:*}" "${registry#*:}"
}

port_open() { (exec 3<>"/dev/tcp/$1/$2"); }

push_base_images() {
  local layer=$cache/busybox.tar busybox=(--env PATH=/bin:/sbin:/usr/bin:/usr/sbin)
  [[ -e $layer ]] || make_busybox_layer "$layer"
  push_image library/pause:1 --layer "$layer" --entrypoint /bin/sleep --cmd 2147483647
  push_image library/alpine:latest --layer "$layer" "${busybox[@]}" --cmd /bin/sh
  push_image library/busybox:latest --layer "$layer" "${busybox[@]}" --cmd /bin/sh
  push_image library/nonroot:latest --layer "$layer" "${busybox[@]}" --cmd /bin/sh --user 65532
}

# push_image REFERENCE OPTION...: into the cluster's registry
push_image() { push "$registry/$1" "${@:2}"; }

# push REFERENCE OPTION...: the options are those of the binary's `image`
push() { "$binary" image --tag "$1" --architecture "$(go_architecture)" "${@:2}"; }

# make_archive REFERENCE FILE OPTION...
make_archive() {
  local reference=$1 file=$2
  shift 2
  "$binary" image --tag "$reference" --output "$file" --architecture "$(go_architecture)" "$@"
}

make_busybox_layer() {
  local root
  root=$(mktemp -d)
  mkdir -p "$root"/{bin,dev,etc,home,proc,root,sbin,sys,tmp,usr/bin,usr/sbin,var}
  chmod 755 "$root"
  chmod 1777 "$root/tmp"
  cp "$(command -v busybox)" "$root/bin/busybox"
  busybox --list | grep -vx busybox | while read -r applet; do ln -s busybox "$root/bin/$applet"; done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnobody:x:65534:\n' >"$root/etc/group"
  pack_layer "$root" "$1"
  rm -rf "$root"
}

# pack_layer DIR FILE: the same files make the same layer
pack_layer() {
  tar -C "$1" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$2.$$" .
  mv "$2.$$" "$2"
}

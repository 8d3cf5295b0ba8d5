# shellcheck shell=bash
# Removes a cluster, also an incomplete one.

remove_cluster() {
  stop_everything
  release_slots
  rm -rf --one-file-system "$state"
}

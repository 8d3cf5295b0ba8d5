# shellcheck shell=bash
# Takes a cluster away, whatever is left of it.

remove_cluster() {
  stop_everything
  release_slots
  rm -rf --one-file-system "$state"
}

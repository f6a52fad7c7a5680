#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# store.sh DIR: imports the images of DIR/mirror/oci with a containerd of its own; DIR/containerd is then a node's
# /var/lib/containerd.
set -eu
dir=$1
programs=$dir/gallery/usr/local/bin
state=$(mktemp -d)
rm -rf "$dir/containerd"
mkdir -p "$dir/containerd"
cat >"$state/config.toml" <<CONFIG
version = 3
root = '$dir/containerd'
state = '$state/state'
disabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime', 'io.containerd.nri.v1.nri']
[grpc]
  address = '$state/containerd.sock'
CONFIG
PATH=$programs:$PATH "$programs/containerd" --config "$state/config.toml" >"$state/log" 2>&1 &
pid=$!
# shellcheck disable=SC2064 # the values of now
trap "kill $pid 2>/dev/null || true; wait $pid 2>/dev/null || true; rm -rf '$state'" EXIT
ctr() {
  "$programs/ctr" --address "$state/containerd.sock" --namespace k8s.io "$@"
}
tries=0
until ctr version >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" -gt 100 ] || ! kill -0 "$pid" 2>/dev/null; then
    cat "$state/log"
    exit 1
  fi
  sleep 0.1
done
tar -C "$dir/mirror/oci" -cf - . | ctr images import --local --snapshotter overlayfs --platform linux/amd64 -
ctr images list -q
kill "$pid"
wait "$pid" || true

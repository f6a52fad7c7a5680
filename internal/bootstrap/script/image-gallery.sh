# SPDX-License-Identifier: Apache-2.0
# The image holds Kubernetes: only check that it is the version that was asked for.
image() {
  local have
  have=$(kubelet --version)
  if [ "$have" != "Kubernetes v$LAZULI_VERSION" ]; then
    echo "the image holds $have, not v$LAZULI_VERSION"
    return 1
  fi
  systemctl enable --now containerd.service
}

# SPDX-License-Identifier: Apache-2.0
# Installs pinned versions on a stock Ubuntu.
fetch() {
  curl --fail --silent --show-error --location --retry 5 --retry-all-errors --retry-delay 5 --max-time 600 --output "$2" "$1"
}

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=5 --yes "$@"
}

install_runtime() {
  local arch dir name
  arch=$(dpkg --print-architecture)
  dir=$(mktemp -d)
  cd "$dir"
  name=containerd-$LAZULI_CONTAINERD-linux-$arch.tar.gz
  fetch "$LAZULI_BINARIES/containerd/containerd/releases/download/v$LAZULI_CONTAINERD/$name" "$name"
  fetch "$LAZULI_BINARIES/containerd/containerd/releases/download/v$LAZULI_CONTAINERD/$name.sha256sum" containerd.sum
  sha256sum --check --ignore-missing containerd.sum
  fetch "$LAZULI_BINARIES/opencontainers/runc/releases/download/v$LAZULI_RUNC/runc.$arch" "runc.$arch"
  fetch "$LAZULI_BINARIES/opencontainers/runc/releases/download/v$LAZULI_RUNC/runc.sha256sum" runc.sum
  sha256sum --check --ignore-missing runc.sum
  tar --extract --gzip --no-same-owner --directory /usr/local --file "$name"
  install -m 0755 "runc.$arch" /usr/local/sbin/runc
  cd /
  rm -rf "$dir"
}

install_kubernetes() {
  local repo=$LAZULI_APT/core:/stable:/v$LAZULI_MINOR/deb
  install -d -m 0755 /etc/apt/keyrings
  fetch "$repo/Release.key" /etc/apt/keyrings/kubernetes.asc
  printf 'deb [signed-by=/etc/apt/keyrings/kubernetes.asc] %s/ /\n' "$repo" >/etc/apt/sources.list.d/kubernetes.list
  chmod 0644 /etc/apt/keyrings/kubernetes.asc /etc/apt/sources.list.d/kubernetes.list
  apt update
  apt install --no-install-recommends --allow-change-held-packages "kubelet=$LAZULI_PACKAGE" "kubeadm=$LAZULI_PACKAGE" \
    "kubectl=$LAZULI_PACKAGE" kubernetes-cni cri-tools conntrack ebtables ethtool iptables nftables socat
  apt-mark hold kubelet kubeadm kubectl kubernetes-cni cri-tools
}

image() {
  umask 022
  systemctl restart systemd-modules-load.service
  sysctl --load /etc/sysctl.d/90-lazuli.conf
  if ! /usr/local/bin/containerd --version 2>/dev/null | grep -qF "v$LAZULI_CONTAINERD "; then install_runtime; fi
  install_kubernetes
  systemctl daemon-reload
  systemctl enable --now containerd.service
}

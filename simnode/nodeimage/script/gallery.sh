#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# gallery.sh DIR FILES: what image-builder bakes in, laid over DIR/stock in DIR/gallery, from DIR/mirror's own packages and
# FILES; and in DIR/tools the programs, with their libraries, that kube-proxy's image needs. In a mount namespace of its own.
set -eu
dir=$1 files=$2
root=$dir/merged
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
rm -rf "$dir/gallery" "$dir/work" "$root" "$dir/tools"
mkdir -p "$dir/gallery" "$dir/work" "$root" "$dir/tools"
mount -t overlay overlay -o "lowerdir=$dir/stock,upperdir=$dir/gallery,workdir=$dir/work" "$root"
mount --bind /proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/run/mirror"
mount --bind "$dir/mirror" "$root/run/mirror"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 0755 "$root/usr/sbin/policy-rc.d"
cat >"$root/run/sources.list" <<LIST
deb file:/run/mirror/debian bookworm main
deb [signed-by=/run/key.asc] file:/run/mirror/kubernetes/core:/stable:/v$MINOR/deb/ /
LIST
mkdir -p "$root/run/lists/partial" "$root/run/archives/partial"
cp "$dir/mirror/kubernetes/core:/stable:/v$MINOR/deb/Release.key" "$root/run/key.asc"
apt() {
  chroot "$root" apt-get -o Dir::Etc::sourcelist=/run/sources.list -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::lists=/run/lists -o Dir::Cache::archives=/run/archives -o APT::Sandbox::User=root --yes "$@"
}
apt update
apt install --no-install-recommends kubelet="$PACKAGE" kubeadm="$PACKAGE" kubectl="$PACKAGE" kubernetes-cni cri-tools \
  conntrack ebtables ethtool iptables nftables socat
chroot "$root" apt-mark hold kubelet kubeadm kubectl kubernetes-cni cri-tools
github=$dir/mirror/github
tar --extract --gzip --no-same-owner --directory "$root/usr/local" \
  --file "$github/containerd/containerd/releases/download/v$CONTAINERD/containerd-$CONTAINERD-linux-amd64.tar.gz"
install -D -m 0755 "$github/opencontainers/runc/releases/download/v$RUNC/runc.amd64" "$root/usr/local/sbin/runc"
cp -R "$files/." "$root/"
chroot "$root" systemctl enable containerd.service kubelet.service
rm -f "$root/usr/sbin/policy-rc.d"
rm -rf "$root"/var/cache/apt/* "$root"/var/log/apt "$root"/var/log/*.log
for tool in /usr/sbin/nft /usr/sbin/conntrack; do
  cp -L "$root$tool" "$dir/tools/${tool##*/}"
  chroot "$root" ldd "$tool" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$dir/tools/${library%/*}"
    cp -L "$root$library" "$dir/tools$library"
  done
done
umount "$root/run/mirror" "$root/run" "$root/proc" "$root"
rm -rf "$root" "$dir/work"

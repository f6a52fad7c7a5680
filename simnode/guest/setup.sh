#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# setup.sh ROOT: turns a Debian bookworm root file system (debootstrap --variant=minbase and packages.txt) into a stand-in
# for Ubuntu on Azure. It may be run again.
set -eu
root=$1
here=$(cd "$(dirname "$0")" && pwd)

cp -a --no-preserve=ownership "$here/files/." "$root/"

# Each machine makes its own.
rm -f "$root/var/lib/dbus/machine-id" "$root"/etc/ssh/ssh_host_* "$root/etc/hostname"
: >"$root/etc/machine-id"
rm -rf "$root/var/lib/cloud" "$root"/var/log/cloud-init*

# cloud-init takes no firmware table for true in a container: it reads ours.
dmi=$root/usr/lib/python3/dist-packages/cloudinit/dmi.py
sed -i -e 's|^DMI_SYS_PATH = .*|DMI_SYS_PATH = "/run/simnode/dmi"|' -e 's|^    if is_container():$|    if False:|' "$dmi"
grep -q '"/run/simnode/dmi"' "$dmi" && grep -q '^    if False:$' "$dmi" || {
  echo "setup.sh: cloud-init reads firmware tables in another way than expected: $dmi" >&2
  exit 1
}
rm -rf "$root/usr/lib/python3/dist-packages/cloudinit/__pycache__/dmi."*

printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"
printf '# Mounts of the machine itself come from the hypervisor.\n' >"$root/etc/fstab"
rm -f "$root/etc/resolv.conf" # The DHCP client writes it.
: >"$root/etc/resolv.conf"
printf 'auto lo\niface lo inet loopback\n\nsource /etc/network/interfaces.d/*\n' >"$root/etc/network/interfaces"

# Hardware that is not there, and work that a machine of an hour's life does not need.
for unit in systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service \
  systemd-udev-settle.service getty@tty1.service console-getty.service getty.target serial-getty@.service \
  systemd-pstore.service systemd-timesyncd.service systemd-hwdb-update.service dev-hugepages.mount sys-kernel-debug.mount \
  sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount systemd-binfmt.service \
  e2scrub_reap.service e2scrub_all.timer fstrim.timer apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer; do
  ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# base.sh DIR SUITE MIRROR "PACKAGES" "MIRRORED": Debian with PACKAGES in DIR/root, and MIRRORED as files in DIR/debs together
# with what they need. Runs in a mount namespace of its own.
set -eu
root=$1/root debs=$1/debs suite=$2 mirror=$3 packages=$4 mirrored=$5
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
debootstrap --variant=minbase "$suite" "$root" "$mirror"
printf 'Acquire::Languages "none";\nAPT::Install-Recommends "false";\n' >"$root/etc/apt/apt.conf.d/90simnode"
printf 'path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n' >"$root/etc/dpkg/dpkg.cfg.d/simnode"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 0755 "$root/usr/sbin/policy-rc.d"
cp /etc/resolv.conf "$root/etc/resolv.conf"
mount --bind /proc "$root/proc"
chroot "$root" apt-get update
# shellcheck disable=SC2086 # lists
chroot "$root" apt-get install --yes $packages
chroot "$root" apt-get clean
# shellcheck disable=SC2086 # lists
chroot "$root" apt-get install --yes --reinstall --download-only $mirrored
mkdir -p "$debs"
mv "$root"/var/cache/apt/archives/*.deb "$debs"
rm -rf "$root"/usr/sbin/policy-rc.d "$root"/var/lib/apt/lists/* "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/* \
  "$root"/var/log/*.log "$root"/var/log/apt "$root"/etc/ssh/ssh_host_* "$root/etc/machine-id" "$root/var/lib/dbus/machine-id"
: >"$root/etc/machine-id"
umount "$root/proc"

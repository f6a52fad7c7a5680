# SPDX-License-Identifier: Apache-2.0
# Runs as process 1 of a PID namespace: when it dies, the kernel ends the whole guest. Mounts live in a namespace of their
# own and end with it too. From the environment:
#   SIM_STAGE    enter, then mount
#   SIM_CGROUPS  lines "TYPE OPTIONS MOUNTPOINT": the hierarchies; SIM_CGROUP is the guest's group in each
#   SIM_CLOCKS   options of unshare that let the guest's clocks begin at zero; empty where the kernel cannot
#   SIM_LOWER SIM_UPPER SIM_WORK SIM_ROOT  the overlay and where to mount it
# and the arguments are systemd-nspawn's.
set -eu
if [ "$SIM_STAGE" = enter ]; then
  while read -r type options mountpoint; do # Not behind a pipe: a shell of its own would enter.
    echo 0 >"$mountpoint/$SIM_CGROUP/cgroup.procs"
  done <<EOF
$SIM_CGROUPS
EOF
  # shellcheck disable=SC2086 # several options
  SIM_STAGE=mount exec unshare --cgroup --mount --propagation slave $SIM_CLOCKS --fork sh "$SIM_SCRIPT" "$@"
fi
mount -t proc proc /proc
# Anew, so that the guest's group is the root that it sees.
case $SIM_CGROUPS in
cgroup\ *)
  umount -R /sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  echo "$SIM_CGROUPS" | while read -r type options mountpoint; do
    mkdir -p "$mountpoint"
    mount -t "$type" -o "$options" cgroup "$mountpoint"
  done
  ;;
*)
  umount -R /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  ;;
esac
mount -t overlay -o "lowerdir=$SIM_LOWER,upperdir=$SIM_UPPER,workdir=$SIM_WORK" overlay "$SIM_ROOT"
mkdir -p /run/systemd/nspawn # Its locks and the like: when it is killed, they must not stay.
mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn
exec systemd-nspawn "$@"

# SPDX-License-Identifier: Apache-2.0
# What every control plane does.
PKI=/etc/kubernetes/pki
AUTHORITIES="ca.crt ca.key etcd/ca.crt etcd/ca.key front-proxy-ca.crt front-proxy-ca.key sa.key sa.pub"

# kubeadm reset empties the PKI folder: keep a copy of what came with the user data.
keep_pki() {
  local file
  if [ -d "$CONFIG/pki" ]; then return 0; fi
  rm -rf "$CONFIG/pki.new"
  for file in $AUTHORITIES; do install -D -m 0600 "$PKI/$file" "$CONFIG/pki.new/$file"; done
  mv "$CONFIG/pki.new" "$CONFIG/pki"
}

restore_pki() {
  local file
  for file in $AUTHORITIES; do install -D -m 0600 "$CONFIG/pki/$file" "$PKI/$file"; done
}

# etcd's own disk, found by its LUN behind SCSI or NVMe. It is formatted only when
# blkid says (2) that it holds nothing at all; any doubt ends the phase.
etcd_disk() {
  local link device='' kind rc try
  if [ "$LAZULI_ETCD_LUN" -lt 0 ] || mountpoint -q "$LAZULI_ETCD_MOUNT"; then return 0; fi
  for ((try = 0; try < 60; try++)); do
    for link in "/dev/disk/azure/scsi1/lun$LAZULI_ETCD_LUN" "/dev/disk/azure/data/by-lun/$LAZULI_ETCD_LUN"; do
      if [ -b "$link" ]; then device=$(readlink -f "$link"); break 2; fi
    done
    sleep 2
  done
  if [ -z "$device" ]; then
    echo "no disk at LUN $LAZULI_ETCD_LUN"
    return 1
  fi
  rc=0
  kind=$(blkid -p -s TYPE -o value "$device") || rc=$?
  if [ "$rc" = 2 ]; then
    mkfs.ext4 -q -L lazuli-etcd "$device"
  elif [ "$rc" != 0 ] || [ "$kind" != ext4 ]; then
    echo "the disk at LUN $LAZULI_ETCD_LUN holds something that is not ext4 (blkid $rc $kind)"
    return 1
  fi
  mkdir -p "$LAZULI_ETCD_MOUNT"
  # Unmounted, the folder takes no file: etcd must not start on the OS disk.
  chattr +i "$LAZULI_ETCD_MOUNT" || true
  sed -i "\\|[[:space:]]$LAZULI_ETCD_MOUNT[[:space:]]|d" /etc/fstab
  printf 'UUID=%s %s ext4 noatime,nofail,x-systemd.before=kubelet.service 0 2\n' \
    "$(blkid -p -s UUID -o value "$device")" "$LAZULI_ETCD_MOUNT" >>/etc/fstab
  systemctl daemon-reload
  mount "$LAZULI_ETCD_MOUNT"
}

# kubeadm labels every control plane so that load balancers pass it by.
role() {
  if [ "$LAZULI_AS_WORKER" != true ]; then return 0; fi
  timeout 60 kubectl --kubeconfig "$ADMIN" label node "$LAZULI_NODE" node.kubernetes.io/exclude-from-external-load-balancers-
}

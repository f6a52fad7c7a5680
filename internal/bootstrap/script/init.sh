# SPDX-License-Identifier: Apache-2.0
# The first control plane.
kubeadm_init() {
  local again=()
  if [ -e "$STATE/kubeadm.done" ]; then return 0; fi
  hosts_set
  if [ -e "$STATE/kubeadm.tried" ]; then
    if [ -d "$LAZULI_ETCD_DATA/member" ]; then
      # etcd has run here, so another machine may have joined: nothing is wiped. kubeadm
      # goes over its phases again, past the files and ports that are in use.
      again=(--ignore-preflight-errors all)
    else
      timeout 300 kubeadm reset --force
      restore_pki
    fi
  fi
  touch "$STATE/kubeadm.tried"
  kubeadm init --config /etc/lazuli/kubeadm.yaml --skip-token-print "${again[@]}"
  touch "$STATE/kubeadm.done"
}

run prepare 3 prepare
run wireserver 3 wireserver
run image 10 image
run etcd-disk 3 etcd_disk
run keep-pki 1 keep_pki
run kubeadm-init 10 kubeadm_init
run role 30 role
run shred 2 shred_secrets
run done 3 finish

# SPDX-License-Identifier: Apache-2.0
# A further control plane.
kubeadm_join() {
  if [ -e "$STATE/kubeadm.done" ]; then return 0; fi
  # Until it has joined, the endpoint's name must lead to the others.
  hosts_clear
  if [ -e "$STATE/kubeadm.tried" ]; then
    timeout 300 kubeadm reset --force
    restore_pki
  fi
  touch "$STATE/kubeadm.tried"
  kubeadm join --config /etc/lazuli/kubeadm.yaml --v=1
  touch "$STATE/kubeadm.done"
}

run prepare 3 prepare
run wireserver 3 wireserver
run image 10 image
run etcd-disk 3 etcd_disk
run keep-pki 1 keep_pki
run kubeadm-join 30 kubeadm_join
run endpoint-hosts 3 hosts_set
run role 30 role
run shred 2 shred_secrets
run done 3 finish

# SPDX-License-Identifier: Apache-2.0
# A worker.
kubeadm_join() {
  if [ -e "$STATE/kubeadm.done" ]; then return 0; fi
  if [ -e "$STATE/kubeadm.tried" ]; then timeout 300 kubeadm reset --force; fi
  touch "$STATE/kubeadm.tried"
  kubeadm join --config /etc/lazuli/kubeadm.yaml --v=1
  touch "$STATE/kubeadm.done"
}

run prepare 3 prepare
run wireserver 3 wireserver
run image 10 image
run kubeadm-join 30 kubeadm_join
run shred 2 shred_secrets
run done 3 finish

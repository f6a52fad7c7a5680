#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes a Kubernetes node of this machine. Every value comes from
# bootstrap.env; this text holds none. It may be run again at any point.
set -euo pipefail
umask 077
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

CONFIG=/etc/lazuli
STATE=/var/lib/lazuli
LOG=/var/log/lazuli-bootstrap.log
ADMIN=/etc/kubernetes/admin.conf
KUBELET=/etc/kubernetes/kubelet.conf
QUIET=/run/lazuli/quiet
. "$CONFIG/bootstrap.env"

console() {
  printf '%s\n' "$1" >>"$LOG"
  { printf '%s\n' "$1" >>/dev/console; } 2>/dev/null || true
}

# The log's last lines without anything that looks like a bootstrap token.
excerpt() {
  tail -n 12 "$LOG" | grep -v '^lazuli-bootstrap ' | sed -E 's/[a-z0-9]{6}\.[a-z0-9]{16}/[token]/g' | cut -c1-400 | tail -n 6 || true
}

# mark PHASE STATE ATTEMPT: one line for people and for boot diagnostics.
mark() {
  local note=
  if [ "$2" = failed ] || [ "$2" = waiting ]; then
    note=$(excerpt)
    while IFS= read -r line; do console "lazuli-bootstrap log: $line"; done <<<"$note"
  fi
  console "lazuli-bootstrap phase=$1 state=$2 attempt=$3 node=$LAZULI_NODE uptime=$(cut -d' ' -f1 /proc/uptime)"
  if [ "$2" = failed ] || [ "$2" = done ]; then report "$1" "$2" "$note" || true; fi
}

# watch PHASE ATTEMPT: while a phase takes long, the console shows each minute where it is.
watch() {
  exec 9>&-
  while true; do
    read -rt 60 <>"$QUIET" || true # nothing ever comes: a pause
    mark "$1" waiting "$2"
  done
}

# Tells the cluster, as far as there are credentials: on the own Node, else in a ConfigMap.
report() {
  if [ -s "$KUBELET" ] && timeout 20 kubectl --kubeconfig "$KUBELET" annotate node "$LAZULI_NODE" --overwrite \
    "lazuli.io/bootstrap-phase=$1" "lazuli.io/bootstrap-state=$2" "lazuli.io/bootstrap-log=$3" >/dev/null 2>&1; then
    return 0
  fi
  if [ "$2" = failed ] && [ -s "$ADMIN" ]; then
    kubectl create configmap "lazuli-bootstrap-$LAZULI_NODE" --namespace kube-system --dry-run=client --output yaml \
      --from-literal "phase=$1" --from-literal "state=$2" --from-literal "log=$3" 2>/dev/null |
      timeout 20 kubectl --kubeconfig "$ADMIN" apply --filename - >/dev/null 2>&1
  fi
}

# run PHASE TRIES FUNCTION: the function's errors end it (it runs outside any
# condition, where errexit would be off), and it is tried again.
run() {
  local attempt rc pause watcher
  for ((attempt = 1; ; attempt++)); do
    mark "$1" started "$attempt"
    watch "$1" "$attempt" &
    watcher=$!
    set +e
    (set -e; "$3") >>"$LOG" 2>&1
    rc=$?
    set -e
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    if [ "$rc" = 0 ]; then
      mark "$1" done "$attempt"
      return 0
    fi
    mark "$1" failed "$attempt"
    if [ "$attempt" -ge "$2" ]; then return 1; fi
    pause=$((attempt * 10))
    sleep $((pause < 60 ? pause : 60))
  done
}

prepare() {
  systemctl daemon-reload
  # Starts this script again after a reboot, until it is done.
  systemctl enable lazuli-bootstrap.service
  swapoff -a
  if [ ! -f /etc/fstab ]; then return 0; fi
  sed -i -E 's|^([^#].*[[:space:]]swap[[:space:]].*)$|# \1|' /etc/fstab
}

wireserver() {
  systemctl enable --now lazuli-wireserver.service
}

hosts_clear() {
  sed -i '/ # lazuli$/d' /etc/hosts
}

hosts_set() {
  hosts_clear
  printf '127.0.0.1 %s # lazuli\n' "$LAZULI_ENDPOINT" >>/etc/hosts
}

# Destroys the copies of the user data, which holds keys or a token.
shred_secrets() {
  local file
  for file in /var/lib/waagent/ovf-env.xml /var/lib/waagent/CustomData; do
    if [ -f "$file" ]; then shred -u "$file"; fi
  done
  # cloud-init keeps its pickled state for the next boot: empty the user data in it.
  if [ -f /var/lib/cloud/instance/obj.pkl ]; then
    python3 - <<'PYTHON' || echo "cloud-init state not cleaned"
import os, pickle
path = os.path.realpath("/var/lib/cloud/instance/obj.pkl")
with open(path, "rb") as f:
    source = pickle.load(f)
source.userdata_raw, source.userdata = "", None
with open(path + ".new", "wb") as f:
    pickle.dump(source, f)
os.chmod(path + ".new", 0o400)
os.system("shred '%s'" % path)
os.replace(path + ".new", path)
PYTHON
  fi
  { grep -rlaF "$CONFIG/kubeadm.yaml" /var/lib/cloud /run/cloud-init 2>/dev/null || true; } |
    while IFS= read -r file; do
      case "$file" in
        */obj.pkl) echo "left in $file" ;;
        *) shred -u "$file" ;;
      esac
    done
  find "$CONFIG" -type f ! -name bootstrap.env -exec shred -u {} +
  find "$CONFIG" -mindepth 1 -type d -empty -delete
}

finish() {
  touch "$STATE/bootstrap.done"
  systemctl disable lazuli-bootstrap.service
  if [ -s "$ADMIN" ]; then
    timeout 20 kubectl --kubeconfig "$ADMIN" delete configmap "lazuli-bootstrap-$LAZULI_NODE" --namespace kube-system --ignore-not-found || true
  fi
}

mkdir -p "$STATE" /run/lazuli
if [ -e "$STATE/bootstrap.done" ]; then exit 0; fi
exec 9>/run/lazuli/bootstrap.lock
flock -n 9 || exit 0
rm -f "$QUIET"
mkfifo "$QUIET"
trap 'rc=$?; if [ "$rc" != 0 ]; then console "lazuli-bootstrap phase=bootstrap state=failed node=$LAZULI_NODE rc=$rc"; fi' EXIT

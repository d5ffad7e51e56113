#!/bin/bash
# Brings a Kubernetes cluster up in mount, network, pid, ipc and host-name namespaces of its own; down.sh takes it down.
# Nothing of it is reachable from outside, and no mount of it is seen outside.
#   BIN     programs, from build.sh
#   IMAGES  folder of OCI archives that every node imports
#   WORK    folder for all data and logs of this cluster
#   NODES   how many nodes (default 1)
set -euo pipefail
export BIN=${BIN:?} IMAGES=${IMAGES:?} WORK=${WORK:?} NODES=${NODES:-1}
here=$(cd "$(dirname "$0")" && pwd)
"$here/down.sh"
mkdir -p "$WORK"/{run,log,pki} /var/lib/{kubelet,cni,bulkhead}   # the last three are mount points only
for n in $(seq "$NODES"); do
  for controller in /sys/fs/cgroup/*/; do
    case $controller in */unified/) continue ;; esac
    group=$controller/bulkhead-e2e-node$n
    mkdir -p "$group"
    case $controller in */cpuset/) for f in cpus mems; do cat "$controller/cpuset.$f" > "$group/cpuset.$f"; done ;; esac
  done
done
[ -f "$WORK/pki/sa.key" ] || openssl genrsa -out "$WORK/pki/sa.key" 2048 2>/dev/null
setsid unshare --mount --net --pid --ipc --uts --fork --mount-proc --kill-child --propagation private \
  bash "$here/control-plane.sh" > "$WORK/log/control-plane.log" 2>&1 < /dev/null &
echo $! > "$WORK/run/unshare.pid"
for _ in $(seq 900); do
  [ -f "$WORK/run/ready" ] && exit 0
  kill -0 "$(cat "$WORK/run/unshare.pid")" 2>/dev/null || break
  sleep .1
done
echo "the cluster did not come up; the end of $WORK/log/control-plane.log:" >&2
tail -20 "$WORK/log/control-plane.log" >&2
exit 1

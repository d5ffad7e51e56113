#!/bin/bash
# node.sh N: one node in a mount namespace of its own, with the usual paths: /var/lib/kubelet, /run, /var/lib/bulkhead, and a pool of
# POOL_SIZE bytes (an xfs file system, default 24 GiB of holes) at /srv/bulkhead/fast.
set -u
n=$1 data=$WORK/node$1 address=10.99.0.$1
mkdir -p "$data"/{kubelet,containerd,state,run,cni}
mount --bind "$data/kubelet" /var/lib/kubelet
mount --bind "$data/state" /var/lib/bulkhead
for dir in /run /var/log /var/lib/cni /srv; do mount -t tmpfs -o mode=755 tmpfs $dir; done
mount --make-rshared /   # Bidirectional mounts work in this namespace and end at it
mkdir -p /srv/bulkhead/fast
size_of() { [ -f "$WORK/pool$n.size" ] && cat "$WORK/pool$n.size" || echo "${POOL_SIZE:-25769803776}"; }
[ -f "$data/pool.img" ] || { truncate -s "$(size_of)" "$data/pool.img" && mkfs.xfs -q "$data/pool.img"; }
mount -o loop "$data/pool.img" /srv/bulkhead/fast
echo $$ > "$WORK/run/node$n.pid"
cat > "$data/run/containerd.toml" <<C
version = 2
root = "$data/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = "$data/run/containerd.sock"
[ttrpc]
  address = "$data/run/containerd.ttrpc.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:3.10.2"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$data/cni"
C
cat > "$data/cni/10-e2e.conflist" <<C
{"cniVersion": "1.0.0", "name": "e2e", "plugins": [{"type": "bridge", "bridge": "cbr0", "isGateway": true, "ipam":
  {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "$WORK/run/ipam"}}]}
C
# clusterDNS: nothing listens there; it saves a warning event for every pod.
# syncFrequency: an online expansion waits for it; the default is a minute.
cat > "$data/run/kubelet.yaml" <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
healthzBindAddress: $address
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix://$data/run/containerd.sock
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupRoot: /bulkhead-e2e-node$n
localStorageCapacityIsolation: false
resolvConf: ""
clusterDNS: [10.96.0.10]
oomScoreAdj: 0
syncFrequency: 5s
nodeStatusUpdateFrequency: 5s
maxPods: 250
podLogsDir: $data/podlogs
volumePluginDir: $data/flex
evictionHard: {memory.available: "0%", nodefs.available: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
kubeAPIQPS: 200
kubeAPIBurst: 400
C
containerd -c "$data/run/containerd.toml" > "$WORK/log/containerd$n.log" 2>&1 &
ctr=(ctr -a "$data/run/containerd.sock" -n k8s.io)
for _ in $(seq 100); do "${ctr[@]}" version >/dev/null 2>&1 && break; sleep .1; done
for image in "$IMAGES"/*.tar; do "${ctr[@]}" images import "$image" >/dev/null || echo "can't import $image"; done
until kubectl --kubeconfig "$WORK/run/node$n.kubeconfig" get --raw /readyz >/dev/null 2>&1; do sleep .1; done
# Started again whenever it ends: a test that kills it sees what a supervisor would do.
while :; do
  kubelet --config "$data/run/kubelet.yaml" --kubeconfig "$WORK/run/node$n.kubeconfig" --cert-dir "$data/pki" \
    --hostname-override "node$n" --node-ip "$address" --v 2 >> "$WORK/log/kubelet$n.log" 2>&1 &
  echo $! > "$WORK/run/kubelet$n.pid"
  wait $!
  sleep 1
done

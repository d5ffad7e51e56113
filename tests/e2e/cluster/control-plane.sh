#!/bin/bash
# Pid 1 of the cluster's namespaces (started by up.sh): etcd, API server, controllers and scheduler, then the nodes.
set -u
export PATH=$BIN:$PATH here; here=$(cd "$(dirname "$0")" && pwd)
run() { local name=$1; shift; "$@" > "$WORK/log/$name.log" 2>&1 & echo $! > "$WORK/run/$name.pid"; }
wait_for() {
  for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep .1; done
  echo "gave up waiting for: $*"; exit 1
}
# The kubelet wants these kernel settings and would set them for the whole machine: it is shown files that hold them.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=$WORK/run/sysctl.${setting//[\/=]/.}
  echo "${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done
hostname bulkhead-e2e
ip link set lo up
ip addr add 10.96.0.1/32 dev lo   # the address of the service "kubernetes": pods reach the API server without kube-proxy
ip link add e2e0 type veth peer name e2e1
ip link set e2e0 up; ip link set e2e1 up
ip addr add 10.99.0.254/24 dev e2e0
ip route add default dev e2e0     # the API server picks its address by the default route

# kubeconfig NAME USER GROUPS: a random token for that user
kubeconfig() {
  local token; token=$(openssl rand -hex 16)
  echo "$token,$2,$1${3:+,\"$3\"}" >> "$WORK/pki/tokens.csv"
  cat > "$WORK/run/$1.kubeconfig" <<C
apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: "https://10.99.0.254:443", certificate-authority: $WORK/pki/apiserver.crt}}]
users: [{name: $1, user: {token: $token}}]
contexts: [{name: e2e, context: {cluster: e2e, user: $1}}]
current-context: e2e
C
}
umask 077
: > "$WORK/pki/tokens.csv"
kubeconfig admin admin system:masters
kubeconfig controller-manager system:kube-controller-manager
kubeconfig scheduler system:kube-scheduler
for n in $(seq "$NODES"); do
  kubeconfig "node$n" "system:node:node$n" system:nodes
  ip addr add "10.99.0.$n/24" dev e2e0
done
umask 022
export KUBECONFIG=$WORK/run/admin.kubeconfig

run etcd etcd --data-dir "$WORK/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
  --initial-cluster default=http://127.0.0.1:2380 --unsafe-no-fsync --log-level warn
wait_for bash -c '</dev/tcp/127.0.0.1/2379'
run apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --cert-dir "$WORK/pki" --secure-port 443 --bind-address 0.0.0.0 \
  --advertise-address 10.99.0.254 --service-cluster-ip-range 10.96.0.0/24 --authorization-mode Node,RBAC \
  --token-auth-file "$WORK/pki/tokens.csv" --service-account-issuer https://kubernetes.default.svc \
  --service-account-key-file "$WORK/pki/sa.key" --service-account-signing-key-file "$WORK/pki/sa.key" --allow-privileged=true \
  --enable-admission-plugins NodeRestriction --endpoint-reconciler-type lease --kubelet-preferred-address-types InternalIP \
  --audit-policy-file "$here/audit-policy.yaml" --audit-log-path "$WORK/log/audit.log" --audit-log-maxsize 4000
for n in $(seq "$NODES"); do
  unshare --mount --propagation private bash "$here/node.sh" "$n" > "$WORK/log/node$n.log" 2>&1 &
done
wait_for kubectl get --raw /readyz
for part in controller-manager scheduler; do
  config=$WORK/run/$part.kubeconfig
  extra=()
  [ $part = controller-manager ] && extra=(--use-service-account-credentials=true
    --service-account-private-key-file "$WORK/pki/sa.key" --root-ca-file "$WORK/pki/apiserver.crt" --flex-volume-plugin-dir "$WORK/run/flex")
  run $part kube-$part --kubeconfig "$config" --authentication-kubeconfig "$config" --authorization-kubeconfig "$config" \
    --leader-elect=false --bind-address 127.0.0.1 --cert-dir "$WORK/pki/$part" "${extra[@]}"
done
for n in $(seq "$NODES"); do wait_for kubectl wait --for=condition=Ready "node/node$n" --timeout=1s; done
wait_for kubectl get serviceaccount default
touch "$WORK/run/ready"
wait
sleep infinity

#!/bin/bash
# Builds every program of the test cluster from Go modules, at the versions of tools/go.mod and provisioner/go.mod, and prints
# the folder they are in. The folder's name is a digest of what they are made from: only a change of that builds again.
# A build that was cut short goes on where it stopped.
#   BULKHEAD_E2E_DIR   where the folder is kept (default ~/.cache/bulkhead/e2e)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=${BULKHEAD_E2E_DIR:-$HOME/.cache/bulkhead/e2e}
command -v go >/dev/null || { echo "go is missing: install Go 1.26 or later (https://go.dev/dl)" >&2; exit 1; }
key=$({ go version; cd "$here"; sha256sum build.sh {tools,provisioner}/go.{mod,sum} tools/storagee2e/*.go; } | sha256sum | cut -c1-16)
out=$root/bin-$key
[ -e "$out/.whole" ] && { echo "$out"; exit 0; }
mkdir -p "$out/crd"
# A network that drops a download now and then must not fail the build.
export GOFLAGS="-trimpath -buildvcs=false -mod=readonly" CGO_ENABLED=0
say() { echo "cluster build: $*" >&2; }

version() { go list -m -f '{{.Version}}' "$1"; }
# build PACKAGE NAME LDFLAGS [TAGS]
build() {
  [ -e "$out/$2" ] && return
  local begin=$SECONDS
  go build -tags "${4:-}" -ldflags "-s -w $3" -o "$out/.$2" "$1" >&2
  mv "$out/.$2" "$out/$2"
  say "$2 in $((SECONDS - begin)) s"
}

cd "$here/tools"
for try in 1 2 3; do go mod download 2>/dev/null && break; say "download failed, try $try"; sleep 5; done
kubernetes=$(version k8s.io/kubernetes)
minor=${kubernetes#v1.}; minor=${minor%%.*}
stamp=k8s.io/component-base/version
k8s="-X $stamp.gitVersion=$kubernetes -X $stamp.gitMajor=1 -X $stamp.gitMinor=$minor -X $stamp.gitTreeState=clean"
for name in kube-apiserver kubelet kube-controller-manager kube-scheduler kubectl; do
  build "k8s.io/kubernetes/cmd/$name" $name "$k8s"
done
build k8s.io/kubernetes/test/images/agnhost agnhost "$k8s"
build go.etcd.io/etcd/server/v3 etcd ""
csi=github.com/kubernetes-csi
build $csi/external-attacher/v4/cmd/csi-attacher csi-attacher "-X main.version=$(version $csi/external-attacher/v4)"
build $csi/external-resizer/v2/cmd/csi-resizer csi-resizer "-X main.version=$(version $csi/external-resizer/v2)"
for name in csi-snapshotter snapshot-controller; do
  build $csi/external-snapshotter/v8/cmd/$name $name "-X main.version=$(version $csi/external-snapshotter/v8)"
done
containerd=github.com/containerd/containerd/v2
for name in containerd containerd-shim-runc-v2 ctr; do
  build $containerd/cmd/$name $name "-X $containerd/version.Version=$(version $containerd)" "no_btrfs no_zfs no_devmapper"
done
build github.com/onsi/ginkgo/v2/ginkgo ginkgo ""
if [ ! -e "$out/storage-e2e.test" ]; then
  begin=$SECONDS
  go test -c -ldflags "-s -w $k8s" -o "$out/.suite" ./storagee2e >&2
  mv "$out/.suite" "$out/storage-e2e.test"
  say "storage-e2e.test in $((SECONDS - begin)) s"
fi
# What the cluster has to know of snapshots, from the release of their controller: custom resources, and what the controller may do.
cp -f "$(go list -m -f '{{.Dir}}' $csi/external-snapshotter/client/v8)"/config/crd/*snapshot.storage.k8s.io_*.yaml "$out/crd/"
cp -f "$(go list -m -f '{{.Dir}}' $csi/external-snapshotter/v8)"/deploy/kubernetes/snapshot-controller/rbac-snapshot-controller.yaml "$out/"
chmod u+w "$out"/*.yaml "$out"/crd/*
cd "$here/provisioner"
build $csi/external-provisioner/v6/cmd/csi-provisioner csi-provisioner "-X main.version=$(version $csi/external-provisioner/v6)"

touch "$out/.whole"
for old in "$root"/bin-*; do [ "$old" = "$out" ] || rm -rf "$old"; done
echo "$out"

#!/bin/bash
# Ends the cluster in WORK and removes its data; logs stay. Ends pid 1 of its namespaces: the kernel then ends all processes in them and
# drops their mounts. Loop devices and cgroups are not in namespaces: those of this cluster go one by one.
set -u
WORK=${WORK:?}
if unshare=$(cat "$WORK/run/unshare.pid" 2>/dev/null); then
  first=$(pgrep -x -P "$unshare" bash | head -1)
  [ -n "$first" ] && kill -9 "$first"
  for _ in $(seq 200); do kill -0 "$unshare" 2>/dev/null || break; sleep .1; done
fi
loops() { losetup -n -l -O NAME,BACK-MAJ:MIN,BACK-FILE; }
# A pool's file lies in WORK; the images in it are told by the device of the pool's file system: their paths mean nothing out here.
# Others use loop devices too, and get the numbers that become free: each is looked at once more before it is touched.
is_pool() { [[ $(losetup -n -O BACK-FILE "$1" 2>/dev/null) == "$WORK"/* ]]; }
for pool in $(loops | awk -v work="$WORK/" 'index($3, work) == 1 {print $1}'); do
  number=$(lsblk -n -d -o MAJ:MIN "$pool" 2>/dev/null | tr -d ' ')
  # As long as there are images in it, the pool's device stays.
  for image in $(loops | awk -v on="$number" '$2 == on {print $1}'); do is_pool "$pool" && losetup -d "$image"; done
  is_pool "$pool" && losetup -d "$pool" 2>/dev/null
done
for group in /sys/fs/cgroup/*/bulkhead-e2e-node*; do
  [ -d "$group" ] && find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
done
rm -rf "$WORK"/{etcd,run,pki,node[0-9]*}
rmdir /var/lib/{kubelet,cni,bulkhead} 2>/dev/null
exit 0

#!/bin/bash
# in.sh [-n N] COMMAND...: runs a command inside the running cluster, with kubectl set up (-n N: in the mount namespace of node N).
#   WORK, BIN   as for up.sh
set -u
first=$(pgrep -P "$(cat "${WORK:?}/run/unshare.pid")" | head -1)
[ -n "$first" ] || { echo "no cluster is up in $WORK" >&2; exit 1; }
mounts=--mount
if [ "$1" = -n ]; then mounts=--mount=/proc/$first/root/proc/$(cat "$WORK/run/node$2.pid")/ns/mnt; shift 2; fi
export KUBECONFIG=$WORK/run/admin.kubeconfig PATH=${BIN:?}:$PATH
exec nsenter -t "$first" "$mounts" -n -p -i -u --wd="$PWD" -- "$@"

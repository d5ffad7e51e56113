#!/bin/bash
# The first process of the VM from when its root is that of the machine outside. Runs the jobs that bulkhead-vm has written down, one after
# the other, and turns the VM off. What it writes goes to the second serial line, which bulkhead-vm reads; the kernel's messages go to
# the first. Lines that begin with the byte 0x1e are for bulkhead-vm: `begin N`, `left N WHAT`, `end N CODE`.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp LC_ALL=C.UTF-8
# The VM has no udev: device mapper isn't to wait for it.
export DM_DISABLE_UDEV=1
of() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
top=$(of bulkhead.top) jobs=$(of bulkhead.jobs) target=$(of bulkhead.target)
stty -F /dev/ttyS1 raw -echo
exec < /dev/null > /dev/ttyS1 2>&1
tell() { printf '\x1e%s\n' "$*"; }
# Elsewhere an init or udev makes them.
ln -s /proc/self/fd /dev/fd
for number in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${number%:*}" "/dev/${number#*:}"; done
# Nothing is ever read from that pipe. sleep(1) would be a program to start, each time.
exec {never}<> <(:)
pause() { read -r -t "$1" -u "$never" || true; }
# At once: qemu ends when the machine reboots, and an orderly end would wait for whatever a test has left behind.
off() { pause 0.2; echo 1 > /proc/sys/kernel/sysrq; echo b > /proc/sysrq-trigger; }
trap off EXIT

set -e
busybox ip link set lo up
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts devpts /dev/pts
modprobe loop
# Tests write there; a file system with all that tests use. What is needed from below the /tmp outside is put back.
mkdir /run/outside
mount --rbind / /run/outside
mount /dev/vda /tmp
chmod 1777 /tmp
for dir in "$top" "$jobs" "$target"; do
  [ ! -e "$dir" ] || continue
  mkdir -p "$dir"
  mount --bind "/run/outside$dir" "$dir"
done
umount -l /run/outside
set +e
tell up "$(cut -d' ' -f1 /proc/uptime)"

# What a test could leave behind.
state() {
  local dir
  # The kernel's own file systems stay once somebody has needed them.
  sed 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - \([^ ]*\) .*/mount \1 \2/' /proc/self/mountinfo | grep -vE ' (nfsd|configfs|rpc_pipefs)$'
  for dir in /sys/class/block /sys/class/nvme /sys/class/scsi_device /sys/kernel/config/nvmet/{ports,subsystems} \
    /sys/kernel/config/target/loopback; do
    # The fabric's directory has entries of its own as soon as somebody has used it.
    [ ! -d "$dir" ] || find "$dir" -mindepth 1 -maxdepth 1 ! -name 'loop*' ! -name discovery_auth ! -name version
  done
  losetup --noheadings --output NAME,BACK-FILE
  [ ! -e /proc/fs/nfsd/threads ] || [ "$(cat /proc/fs/nfsd/threads)" = 0 ] || echo "threads of nfsd"
  find /tmp -mindepth 1 -maxdepth 1
}

# All of it is read before it begins: it may be edited outside meanwhile.
run_all() {
  local job number words running begin code what
  for job in "$jobs"/job-*; do
    number=${job##*-}
    # Seconds that it may take, the directory to run it in, the program and its arguments; each with a zero byte at its end.
    mapfile -d '' -t words < "$job"
    tell begin "$number"
    state | sort > /run/before
    (cd "${words[1]}" && BULKHEAD_VM=1 CI=true exec setsid "${words[@]:2}") &
    running=$!
    begin=$SECONDS
    while [ -d "/proc/$running" ] && [ $((SECONDS - begin)) -lt "${words[0]}" ]; do pause 0.5; done
    if [ -d "/proc/$running" ]; then
      # To the console: what blocked processes wait for in the kernel.
      echo w > /proc/sysrq-trigger
      echo "vm: not done after ${words[0]} s" >&2
      tell end "$number" 124
      exit
    fi
    wait "$running"
    code=$?
    # The kernel takes some things down after the process is gone.
    for _ in $(seq 20); do
      state | sort > /run/after
      comm -13 /run/before /run/after > /run/left
      [ -s /run/left ] || break
      pause 0.1
    done
    while read -r what; do tell left "$number" "$what"; done < /run/left
    tell end "$number" "$code"
  done
  tell done
}
run_all
exit

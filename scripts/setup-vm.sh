#!/usr/bin/env bash
# Prints the directory of what the test VM boots, after making it where it is missing; with --find, only if it is there.
#   vmlinuz      Debian's kernel, from its package: unpacked, not installed
#   initrd.gz    busybox, that kernel's modules that tests use, and tests/vm/guest/init
#   tools/       programs of packages that a developer's machine shouldn't have for tests (they start servers): unpacked too
# The name of the directory is the kernel's version and a hash of what decides about its content. It is made once: to have a later kernel
# of Debian's, remove it.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="/usr/sbin:/sbin:$PATH"
cache=${BULKHEAD_VM_DIR:-$HOME/.cache/bulkhead/vm}
recipe=$(cat scripts/setup-vm.sh tests/vm/guest/init | sha256sum | cut -c1-12)

mkdir -p "$cache"
# Of other recipes, and logs of runs that failed. Another clone on this machine may be at another recipe.
find "$cache" -maxdepth 1 -mindepth 1 -mtime +7 ! -name "*-$recipe" -exec rm -rf {} +
newest=$(find "$cache" -maxdepth 1 -name "[0-9]*-$recipe" | sort -V | tail -1)
if [ -n "$newest" ]; then echo "$newest"; exit 0; fi
[ "${1:-}" != --find ] || exit 1

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }
programs=(qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils depmod:kmod busybox:busybox-static mkfs.ext4:e2fsprogs dmsetup:dmsetup
  losetup:mount)
guest_tools=(nfs-kernel-server nfs-common rpcbind keyutils)
# What tests load, and what the guest itself needs; with all that these depend on.
modules=(virtio_pci virtio_blk 9p 9pnet_virtio overlay loop fuse crc32c_generic crc32c-intel crct10dif_common crct10dif-pclmul
  ext4 xfs dm-mod dm-flakey dm-delay dm-snapshot nvme-core nvme-fabrics nvme-tcp nvmet nvmet-tcp configfs sd_mod scsi_debug
  target_core_mod target_core_file target_core_iblock tcm_loop nfsd nfsv3 nfsv4 lockd sunrpc)

[ "$(uname -m)" = x86_64 ] || fail "the test VM is an x86_64 machine, this is $(uname -m): run it on such a one"
command -v apt-get >/dev/null || fail "the test VM is made of Debian packages and needs apt-get: run it on Debian or Ubuntu, or set
  BULKHEAD_VM_DIR to a directory that scripts/setup-vm.sh made elsewhere from the same sources"
missing=()
for program in "${programs[@]}"; do command -v "${program%%:*}" >/dev/null || missing+=("${program#*:}"); done
apt-get update -q >/dev/null 2>&1 || [ "$(id -u)" != 0 ] || say "apt-get update failed: going on with what apt knows"
if [ "${#missing[@]}" -gt 0 ]; then
  [ "$(id -u)" = 0 ] || fail "please install: ${missing[*]} (Debian names)"
  # Both of qemu's packages always by name: of one at another version, apt takes the other one away.
  case " ${missing[*]} " in *" qemu-"*) missing+=(qemu-system-x86 qemu-utils) ;; esac
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  say "installing with apt: ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
fi
for program in "${programs[@]}"; do
  command -v "${program%%:*}" >/dev/null || fail "${program%%:*} is still missing after installing ${program#*:}"
done

# Aside, and moved into place when it is whole.
aside=$(mktemp -d "$cache/.making-XXXXXX")
trap 'rm -rf "$aside"' EXIT
mkdir -p "$aside"/{debs,kernel,root/bin,root/sbin,root/proc,root/sys,root/dev,tools}
image=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
[ -n "$image" ] || fail "apt knows no linux-image-amd64: run 'apt-get update' as root"
# What these packages need and this machine lacks comes along.
also=$(apt-get install --simulate --no-install-recommends "${guest_tools[@]}" | awk '/^Inst/ { print $2 }')
say "downloading $image and, for the VM only, $(echo "${guest_tools[@]}" $also | tr ' ' '\n' | sort -u | tr '\n' ' ')(about 70 MB, once)"
(
  cd "$aside/debs"
  # As another user apt can't write here, and says so.
  apt-get download -q -o APT::Sandbox::User=root "$image" $(echo "${guest_tools[@]}" $also | tr ' ' '\n' | sort -u) >/dev/null
)

dpkg -x "$aside"/debs/"$image"_*.deb "$aside/kernel"
rm "$aside"/debs/"$image"_*.deb
version=$(ls "$aside/kernel/lib/modules")
cp "$aside/kernel/boot/vmlinuz-$version" "$aside/vmlinuz"
depmod -b "$aside/kernel" "$version"
for module in "${modules[@]}"; do
  modprobe -d "$aside/kernel" -S "$version" --show-depends "$module" || fail "Debian's kernel $version has no module $module"
done | awk '/^insmod/ { print $2 }' | sort -u > "$aside/files"
# Whoever needs a hash or a checksum asks the kernel for it by name: no dependency tells.
(cd "$aside/kernel" && find "lib/modules/$version"/kernel/{crypto,arch/x86/crypto,lib/crypto} -name '*.ko*') | sed "s|^|$aside/kernel/|" >> "$aside/files"
sort -u "$aside/files" | while read -r file; do install -D -m 644 "$file" "$aside/root/${file#"$aside/kernel/"}"; done
cp "$aside/kernel/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$aside/root/lib/modules/$version/"
depmod -b "$aside/root" "$version"
cp "$(command -v busybox)" "$aside/root/bin/busybox"
install -m 755 tests/vm/guest/init "$aside/root/init"
(cd "$aside/root" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) > "$aside/initrd.gz"

for deb in "$aside"/debs/*.deb; do dpkg -x "$deb" "$aside/tools"; done
# Where /sbin is a link to usr/sbin, a directory /sbin in a layer above would hide it.
for dir in bin sbin lib; do
  [ -d "$aside/tools/$dir" ] || continue
  mkdir -p "$aside/tools/usr/$dir"
  cp -a "$aside/tools/$dir/." "$aside/tools/usr/$dir/"
  rm -r "${aside:?}/tools/$dir"
done
rm -r "$aside"/{debs,kernel,root,files}
chmod 755 "$aside"
home=$cache/$version-$recipe
mv -T "$aside" "$home"
trap - EXIT
echo "$home"

#!/usr/bin/env bash
# Builds the container image of the host from what `make build` has left, without a container daemon:
#   image.sh [OUT.tar]      default dist/bulkhead-image.tar; beside it OUT.txt lists every file, its digest and its package
# Environment: IMAGE (name with tag), HOST (binary, default dist/bulkhead), BACKENDS (names, default the folders of plugins/),
# BACKEND_DIR (default dist/backends), SOURCE_DATE_EPOCH (default: date of the last commit).
# docs/image.md says what is inside and what is reproducible.
set -euo pipefail
start=$PWD
cd "$(dirname "$0")/.."
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
umask 022
fail() { echo "image.sh: $*" >&2; exit 1; }

out=$(cd "$start" && realpath -m "${1:-$OLDPWD/dist/bulkhead-image.tar}")
host=${HOST:-dist/bulkhead}
backend_dir=${BACKEND_DIR:-dist/backends}
read -ra backends <<< "${BACKENDS:-$(ls plugins | tr '\n' ' ')}"
# What the node engine runs, and no more; looked for where it looks (host/node, helper.rs).
helpers=(mkfs.ext4 e2fsck resize2fs mkfs.xfs cp)
configs=(/etc/mke2fs.conf)
case $(uname -m) in
  x86_64) arch=amd64 ;;
  aarch64) arch=arm64 ;;
  *) fail "$(uname -m) is not supported" ;;
esac
for tool in python3 strip ldd; do command -v $tool >/dev/null || fail "$tool is missing (Debian: apt-get install python3 binutils libc-bin)"; done
[ -x "$host" ] || fail "$host is not there: run \`make build\`"
version=$("$host" --version | cut -d' ' -f2)
image=${IMAGE:-ghcr.io/bulkhead-csi/bulkhead:$version}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
base=$work/base
list=$work/list
mkdir -p "$base"/{dev,proc,sys,tmp,run/bulkhead,etc/bulkhead,usr/bin,usr/sbin,usr/lib,usr/lib64,var/lib/bulkhead} \
  "$work/host/usr/bin" "$work/backends/usr/lib/bulkhead/backends"
for name in bin sbin lib lib64; do ln -s usr/$name "$base/$name"; done
ln -s ../proc/self/mounts "$base/etc/mtab" # where mkfs, e2fsck and resize2fs look whether a device is mounted
echo 'root:x:0:0:root:/:/sbin/nologin
nonroot:x:65532:65532:nonroot:/:/sbin/nologin' > "$base/etc/passwd"
echo 'root:x:0:
nonroot:x:65532:' > "$base/etc/group"

# Where a path of this machine is in the image, whose /bin, /sbin and /lib* are links into /usr.
inside() { case $1 in /bin/* | /sbin/* | /lib/* | /lib64/*) echo "/usr$1" ;; *) echo "$1" ;; esac; }

place() { # path of this machine: the file under the same path into the base
  local to
  to=$(inside "$1")
  [ ! -e "$base$to" ] || return 0
  mkdir -p "$base$(dirname "$to")"
  cp "$1" "$base$to"
  printf '%s\t%s\n' "$to" "$(realpath "$1")" >> "$work/placed"
}

libraries() { # binary: its shared libraries and the loader, under the names by which they are looked for
  local needed library
  needed=$(ldd "$1")
  ! grep -F 'not found' <<< "$needed" || fail "$1 needs a library that is not there"
  while read -r library; do place "$library"; done < <(grep -oE '/[^ ]+\.so[^ ]*' <<< "$needed")
}

for name in "${helpers[@]}"; do
  path=$(PATH=/usr/sbin:/sbin:/usr/bin:/bin command -v "$name") || fail "$name is missing (Debian: apt-get install e2fsprogs xfsprogs coreutils)"
  place "$path"
  libraries "$path"
done
for path in "${configs[@]}"; do [ ! -e "$path" ] || place "$path"; done
libraries "$host"
# The build id is a digest that covers debug information, and with it the clone's path.
strip --strip-all --remove-section=.note.gnu.build-id -o "$work/host/usr/bin/bulkhead" "$host"
for name in "${backends[@]}"; do
  [ -e "$backend_dir/$name.wasm" ] || fail "$backend_dir/$name.wasm is not there: run \`make build\`"
  cp "$backend_dir/$name.wasm" "$work/backends/usr/lib/bulkhead/backends/$name.wasm"
done

mkdir -p "$(dirname "$out")"
digest=$(python3 scripts/oci.py "$out" --name "$image" --epoch "$epoch" --arch $arch \
  --layer "$base" --layer "$work/host" --layer "$work/backends" --set tmp=1777 \
  --entrypoint /usr/bin/bulkhead --cmd=serve --cmd=--config --cmd=/etc/bulkhead/config.yaml \
  --label org.opencontainers.image.title=Bulkhead --label "org.opencontainers.image.version=$version" \
  --label "org.opencontainers.image.description=A WebAssembly-pluggable CSI host" \
  --label org.opencontainers.image.licenses=Apache-2.0)

# Which package a path of this machine is from, as "PATH<tab>PACKAGE VERSION"; packages name paths with or without /usr.
packages() {
  command -v dpkg-query >/dev/null || return 0
  cut -f2 "$work/placed" | sed -E 'p; s,^/usr/,/,' | xargs dpkg-query -S 2>/dev/null | sed -E 's/^([^:]+)(:[^:]*)?: /\1\t/' > "$work/owners" || true
  cut -f1 "$work/owners" | sort -u | xargs dpkg-query -W -f '${Package}\t${Package} ${Version}\n' 2>/dev/null | sort -u > "$work/versions" || true
  awk -F '\t' 'FNR == NR { version[$1] = $2; next } { print $2 "\t" version[$1] }' "$work/versions" "$work/owners"
}

packages > "$work/packages"
{
  printf '# %s %s\n# sha256, or where a link leads; bytes; path; package\n' "$image" "$digest"
  for layer in base host backends; do
    (cd "$work/$layer" && find . \( -type f -o -type l \) -printf '%P\n' | sort) | while read -r name; do
      file=$work/$layer/$name
      if [ -L "$file" ]; then
        printf -- '-> %s\t0\t/%s\t-\n' "$(readlink "$file")" "$name"
        continue
      fi
      source=$(awk -F '\t' -v name="/$name" '$1 == name { print $2 }' "$work/placed")
      from=$(awk -F '\t' -v a="$source" -v b="${source#/usr}" '$1 == a || $1 == b { print $2; exit }' "$work/packages")
      [ -z "$source" ] && from="bulkhead $version"
      printf '%s\t%s\t/%s\t%s\n' "$(sha256sum < "$file" | cut -d' ' -f1)" "$(stat -c %s "$file")" "$name" "${from:-unknown}"
    done
  done
} > "$list"
cp "$list" "${out%.tar}.txt"
echo "$image $digest"
for layer in base host backends; do printf '  %-9s %6d KiB\n' $layer "$(du -sk --apparent-size "$work/$layer" | cut -f1)"; done
printf '  %s %d KiB, contents in %s\n' "$out" $(($(stat -c %s "$out") / 1024)) "${out%.tar}.txt"

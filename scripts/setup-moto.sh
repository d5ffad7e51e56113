#!/usr/bin/env bash
# Prints the path of a Python that has the pinned moto and boto3, after putting them into a virtual environment where it is
# missing; with --find, only if it is there. Packages come from wherever pip is configured to fetch them.
set -euo pipefail
moto=5.2.5
boto=1.44.5
tools=${BULKHEAD_TOOLS:-$HOME/.cache/bulkhead/tools}
home=$tools/moto-$moto
python=$home/bin/python
if [ -x "$python" ] && [ "$(cat "$home/.boto" 2>/dev/null)" = "$boto" ]; then echo "$python"; exit 0; fi
[ "${1:-}" != --find ] || exit 1
command -v python3 >/dev/null || { echo "setup: no python3: install it (Debian: python3 python3-venv)" >&2; exit 1; }
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "setup: installing with apt: python3-venv" >&2
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3-venv >/dev/null
  else
    echo "setup: python3 can't make virtual environments: install python3-venv (Debian's name)" >&2
    exit 1
  fi
fi
echo "setup: installing moto $moto with pip (some minutes, once)" >&2
mkdir -p "$tools"
# Aside, and moved into place when it is whole. A virtual environment knows its own path only in scripts that are not used here.
aside=$(mktemp -d "$tools/.moto-XXXXXX")
trap 'rm -rf "$aside"' EXIT
python3 -m venv "$aside"
"$aside/bin/python" -m pip install --quiet "moto[ec2,iam,sts,server]==$moto" "boto3==$boto" "botocore==$boto" >&2
echo "$boto" > "$aside/.boto"
rm -rf "$home"
mv -T "$aside" "$home"
echo "$python"

#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes .build/: a virtual environment, amazon.aws, and a collections tree whose coldstore.ebs is this checkout.
# Safe to run again; does nothing when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."
packages="acl attr b3sum btrfs-progs busybox-static chromium chromium-driver libarchive-tools dosfstools fdisk gdisk gnupg
          grub-pc-bin grub2-common libcap2-bin lz4 qemu-system-x86 udev util-linux xfsprogs zstd e2fsprogs"
missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  # shellcheck disable=SC2086  # a list of words is meant
  apt-get install -qy --no-install-recommends $missing
fi

stamp=$(cat tests/requirements.txt tests/setup.sh | sha256sum | cut -d' ' -f1)
if [ -e .build/stamp ] && [ "$(cat .build/stamp)" = "$stamp" ]; then
  exit 0
fi
rm -rf .build
mkdir -p .build/tree/ansible_collections/coldstore
python3.11 -m venv .build/venv
.build/venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
# The ansible package is the one place on PyPI that carries amazon.aws; nothing else of it is wanted.
.build/venv/bin/pip download --quiet --disable-pip-version-check --no-deps -d .build/download ansible==12.3.0
.build/venv/bin/python - <<'P'
import pathlib, zipfile
wheel = next(pathlib.Path(".build/download").glob("ansible-12*.whl"))
with zipfile.ZipFile(wheel) as archive:
    wanted = [n for n in archive.namelist() if n.startswith("ansible_collections/amazon/aws/")]
    archive.extractall(".build/tree", wanted)
P
rm -rf .build/download
ln -s ../../../.. .build/tree/ansible_collections/coldstore/ebs
# The kernel of the disk that a test boots: with NVMe and ext4 built in. Nothing is installed.
mkdir .build/kernel
apt-get update -q > /dev/null
kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" {print $2}')
(cd .build/kernel && apt-get download -q "$kernel" 2> /dev/null > /dev/null)
dpkg --fsys-tarfile .build/kernel/*.deb | tar -x --wildcards -O './boot/vmlinuz-*' > .build/vmlinuz
rm -r .build/kernel
echo "$stamp" > .build/stamp

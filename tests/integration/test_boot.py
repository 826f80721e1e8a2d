# SPDX-License-Identifier: GPL-3.0-or-later
"""A root disk goes volume -> archive -> larger volume, and a machine boots from what came back."""

import os
import subprocess
import uuid

import disks
import pytest
from conftest import REPO
from trees import mounted

ROOT = "c01d5708-0000-4000-8000-0000000000b0"
TABLES = {  # the root partition's number, the table, and what the kernel calls the partition
    # As Ubuntu's images have it: the root is the first partition by number and the last one on the disk.
    "gpt": (
        1,
        f"label: gpt\n14: start=2048, size=8192, type=21686148-6449-6E6F-744E-656564454649\n1: start=10240, type=L, uuid={ROOT}\n",
        f"PARTUUID={ROOT}",
    ),
    # The boot loader lies between the table and the first partition, in none.
    "dos": (1, "label: dos\nlabel-id: 0xc01d57b0\nstart=2048, type=83, bootable\n", "PARTUUID=c01d57b0-01"),
}
INIT = """#!/bin/sh
export PATH=/bin
busybox mount -t proc proc /proc
grown=$(busybox df -m / | busybox awk 'NR == 2 {print ($2 > 1200)}')
busybox echo "init of the restored disk: $(busybox cat /etc/told), $(busybox stat -c '%a %u' /bin/busybox), $grown"
busybox poweroff -f
"""


def root_disk(path, label):
    """A disk of 1 GiB that boots: GRUB, a kernel, a root filesystem whose init says that it runs."""
    number, table, name = TABLES[label]
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    subprocess.run(["sfdisk", "--quiet", path], input=table, text=True, check=True)
    filesystem = str(uuid.uuid4())
    with disks.attached(path) as device:
        subprocess.run(["mkfs.ext4", "-q", "-U", filesystem, f"{device}p{number}"], check=True)
        with mounted(f"{device}p{number}", "rw") as root:
            for directory in ("bin", "sbin", "etc", "dev", "proc", "boot/grub"):
                (root / directory).mkdir(parents=True)
            os.mknod(root / "dev" / "console", 0o20600, os.makedev(5, 1))
            (root / "bin" / "busybox").write_bytes(open("/bin/busybox", "rb").read())
            os.chmod(root / "bin" / "busybox", 0o4755)
            os.symlink("busybox", root / "bin" / "sh")
            (root / "sbin" / "init").write_text(INIT)
            os.chmod(root / "sbin" / "init", 0o755)
            (root / "etc" / "told").write_text(label)
            (root / "boot" / "vmlinuz").write_bytes((REPO / ".build" / "vmlinuz").read_bytes())
            (root / "boot" / "grub" / "grub.cfg").write_text(
                f"search --set=root --fs-uuid {filesystem}\nlinux /boot/vmlinuz console=ttyS0 root={name} ro quiet panic=-1\nboot\n"
            )
            grub = ["grub-install", "--target=i386-pc", f"--boot-directory={root}/boot", device]
            subprocess.run(grub, check=True, capture_output=True)


def boot(device):
    """What a machine with an NVMe disk says on its serial line until it powers off; it changes nothing on the disk."""
    machine = ["qemu-system-x86_64", "-m", "512", "-nographic", "-no-reboot", "-nic", "none"]
    disk = ["-drive", f"file={device},if=none,id=root,format=raw,snapshot=on", "-device", "nvme,drive=root,serial=root"]
    ran = subprocess.run([*machine, *disk], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=True)
    return ran.stdout


@pytest.mark.parametrize("label", sorted(TABLES))
def test_a_restored_root_disk_boots(lab, bucket, tmp_path, label):
    """From a volume twice as large, which its root filesystem then fills."""
    image = tmp_path / "root.img"
    root_disk(image, label)
    snapshot = f"snap-{uuid.uuid4().hex[:17]}"
    facts = {"volume_id": f"vol-{uuid.uuid4().hex[:17]}", "size": 1, "start_time": "2017-02-01T00:00:00+00:00", "tags": {}}
    lab.call("snapshot", {"snapshot_id": snapshot, "description": "a root disk", "image": str(image), **facts})
    volume = lab.attach(snapshot)
    try:
        lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=snapshot, volume_id=volume["volume_id"])
    finally:
        lab.detach(volume["volume_id"])
    fresh = lab.attach(snapshot, format="restore", size=2)
    try:
        done = lab.ok("snapshot_restore", bucket=bucket, snapshot_id=snapshot, volume_id=fresh["volume_id"], grow=True)
        assert f"init of the restored disk: {label}, 4755 0, 1" in boot(done["device"])
    finally:
        lab.detach(fresh["volume_id"])
        lab.ec2.delete_snapshot(SnapshotId=snapshot)

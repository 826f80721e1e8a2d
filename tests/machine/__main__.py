# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on a worker that is a machine of its own: python tests/machine, as root.

Debian 11 in an emulated computer: Linux 5.10, Python 3.9, udev, NVMe disks that come and go while it runs, sshd, sudo.
The lab attaches volumes to this host; here they are handed on to that machine as NVMe disks with the serials that EC2
gives them. Emulation makes everything some fifteen times slower than it would be.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import boto3
import yaml

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "lab"))
import guard  # noqa: E402

BUILD = REPO / ".build" / "machine"  # what is made once: the disk, its kernel, a key to log in
VENV = REPO / ".build" / "venv" / "bin"
RELEASE = "bullseye"
MIRROR = "http://deb.debian.org/debian"
BASE = ["linux-image-cloud-amd64", "openssh-server", "sudo", "systemd-sysv", "udev", "kmod", "initramfs-tools", "lvm2", "mdadm"]
SLOTS = 4
SEEDS = ("gpt", "btrfs", "mbr", "vfat", "tagged")
# What a worker with lvm2 and mdadm, as this one and Ubuntu's images are, would activate as soon as it appears.
POOLS = {
    "lvm": """
        vgcreate -q data $disk
        lvcreate -q -y -n files -L 300M data
        mkfs.ext4 -q /dev/data/files
        vgchange -q -an data""",
    "raid": """
        mdadm --quiet --create /dev/md/old --run --level=1 --raid-devices=1 --force $disk
        mkfs.ext4 -q /dev/md/old
        mdadm --quiet --stop /dev/md/old""",
}
HOST = "10.0.2.2"  # as QEMU's network names this host; what arrives there goes to loopback
NETWORK = f"[Match]\nName=en*\n[Network]\nAddress=10.0.2.15/24\nGateway={HOST}\n"


def run(*command, **options):
    return subprocess.run(command, check=True, **options)


def build():
    """The machine's disk, with what the role worker would install: it cannot reach any network but this host."""
    if (BUILD / "disk.img").exists():
        return
    run("apt-get", "install", "-qy", "--no-install-recommends", "debootstrap", "openssh-client", stdout=subprocess.DEVNULL)
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    root = BUILD / "root"
    wanted = yaml.safe_load((REPO / "roles/worker/vars/main.yml").read_text())["worker_packages"]["Debian"]
    run(
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join([*BASE, *wanted])}",
        RELEASE,
        root,
        MIRROR,
        stdout=subprocess.DEVNULL,
    )
    requirements, wheels = REPO / "roles/worker/files/requirements.txt", root / "wheels"
    # pip asks this host's Python, not 3.9, what botocore needs there.
    for_39 = ["--python-version", "3.9", "--only-binary", ":all:"]
    run(VENV / "pip", "download", "-q", "-r", requirements, "urllib3<1.27", "-d", wheels, *for_39)
    shutil.copy(requirements, wheels)
    run("chroot", root, "python3", "-m", "venv", "/opt/coldstore-ebs")
    install = [
        "/opt/coldstore-ebs/bin/pip",
        "install",
        "-q",
        "--no-index",
        "--find-links",
        "/wheels",
        "-r",
        "/wheels/requirements.txt",
    ]
    run("chroot", root, *install)
    run("chroot", root, "useradd", "-m", "-s", "/bin/bash", "admin")
    run("chroot", root, "systemctl", "enable", "-q", "systemd-networkd", "ssh")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", BUILD / "key")
    (root / "home/admin/.ssh").mkdir(mode=0o700)
    shutil.copy(BUILD / "key.pub", root / "home/admin/.ssh/authorized_keys")
    run("chroot", root, "chown", "-R", "admin:admin", "/home/admin/.ssh")
    (root / "etc/systemd/network/10.network").write_text(NETWORK)
    (root / "etc/sudoers.d/admin").write_text('admin ALL=(ALL) NOPASSWD: ALL\nDefaults env_keep += "AWS_*"\n')
    (root / "etc/fstab").write_text("LABEL=machine / ext4 rw 0 1\n")
    (root / "etc/hostname").write_text("worker1\n")
    for name in ("vmlinuz", "initrd"):
        shutil.copy(next((root / "boot").glob(f"{name}*")), BUILD / name)
    image = BUILD / "disk.new"
    with open(image, "wb") as file:
        file.truncate(6 << 30)
    run("mkfs.ext4", "-q", "-L", "machine", "-d", root, image)
    shutil.rmtree(root)
    image.rename(BUILD / "disk.img")


class Machine:
    """An emulated computer that boots the disk and forgets what it writes there."""

    def __init__(self, directory):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        console = directory / "qmp"
        ports = [f"pcie-root-port,id=slot{number},chassis={number},slot={number}" for number in range(1, SLOTS + 1)]
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-machine", "q35", "-smp", "2", "-m", "3072", "-display", "none",
             "-serial", f"file:{directory / 'serial'}", "-qmp", f"unix:{console},server=on,wait=off",
             "-kernel", BUILD / "vmlinuz", "-initrd", BUILD / "initrd",
             "-append", "root=LABEL=machine rw console=ttyS0 panic=-1", "-no-reboot",
             "-drive", f"file={BUILD / 'disk.img'},if=virtio,format=raw,snapshot=on",
             "-netdev", f"user,id=net,restrict=off,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-device", "virtio-net-pci,netdev=net",
             *[word for port in ports for word in ("-device", port)]],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(console.exists, 10)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(console))
        self._file = self._socket.makefile("rw")
        self._file.readline()
        self.ask("qmp_capabilities")
        self._slots = {}

    def ask(self, command, **arguments):
        """One request of QEMU's machine protocol; its answer."""
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while True:
            answer = json.loads(self._file.readline())
            if "return" in answer or "error" in answer:
                return answer

    def hand_on(self, attached):
        """Make the machine's NVMe disks those that are attached: {volume id: device of this host}."""
        for volume in [each for each in self._slots if each not in attached]:
            self.ask("device_del", id=f"disk-{volume}")
            wait_for(lambda node=volume: "return" in self.ask("blockdev-del", **{"node-name": node}), 60)
            del self._slots[volume]
        for volume in [each for each in attached if each not in self._slots]:
            slot = next(number for number in range(1, SLOTS + 1) if number not in self._slots.values())
            self._slots[volume] = slot
            disk = {"driver": "host_device", "node-name": volume, "filename": attached[volume], "locking": "off"}
            self.ask("blockdev-add", **disk)
            serial = volume.replace("-", "")
            self.ask("device_add", driver="nvme", id=f"disk-{volume}", drive=volume, serial=serial, bus=f"slot{slot}")

    def ssh(self, command, text="", check=True, **more):
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5", "-q"]
        where = ["-i", BUILD / "key", "-p", str(self.port), "admin@127.0.0.1"]
        return subprocess.run(["ssh", *options, *where, command], input=text, text=True, check=check, **more)

    def close(self):
        self.process.kill()
        self.process.wait()


def wait_for(what, seconds):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            sys.exit(f"not after {seconds} s: {what}")
        time.sleep(1)


def lab(directory, *arguments):
    return run(VENV / "python", REPO / "tests/lab", "--state", directory, *arguments, stdout=subprocess.PIPE, text=True).stdout


def attached(directory):
    """{volume id: device} of what the lab has attached to this host."""
    listed = json.loads(
        run("losetup", "--list", "--json", "-O", "NAME,BACK-FILE", stdout=subprocess.PIPE).stdout or '{"loopdevices": []}'
    )
    files = [(Path(each["back-file"]), each["name"]) for each in listed["loopdevices"]]
    # One that was detached stays "….img (deleted)" as long as the machine holds it.
    return {path.stem: device for path, device in files if path.parent == directory / "volumes" and path.suffix == ".img"}


def pool(machine, ec2, commands):
    """A snapshot of a disk that these commands made something of, on the machine."""

    def state(name, of, **asked):
        return [each["State"] for each in getattr(ec2, f"describe_{name}")(**asked)[of]]

    instance = ec2.describe_instances()["Reservations"][0]["Instances"][0]
    volume = ec2.create_volume(AvailabilityZone=instance["Placement"]["AvailabilityZone"], Size=1)["VolumeId"]
    wait_for(lambda: state("volumes", "Volumes", VolumeIds=[volume]) == ["available"], 60)
    ec2.attach_volume(VolumeId=volume, InstanceId=instance["InstanceId"], Device="/dev/sdp")
    find = f"set -e; disk=$(ls /dev/disk/by-id/*_{volume.replace('-', '')}); "
    wait_for(lambda: machine.ssh(find, check=False).returncode == 0, 120)
    machine.ssh("sudo sh", f"{find}\n{commands}\nsync\n")
    ec2.detach_volume(VolumeId=volume, InstanceId=instance["InstanceId"])
    wait_for(lambda: state("volumes", "Volumes", VolumeIds=[volume]) == ["available"], 60)
    tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "snap-to-s3", "Value": "migrate"}]}]
    snapshot = ec2.create_snapshot(VolumeId=volume, TagSpecifications=tags)["SnapshotId"]
    wait_for(lambda: state("snapshots", "Snapshots", SnapshotIds=[snapshot]) == ["completed"], 60)
    ec2.delete_volume(VolumeId=volume)
    return snapshot


def activated(machine):
    """What LVM and md have on the machine, and every array they ever had."""
    look = (
        "ls /sys/block | grep -e ^dm -e ^md; ls /run/udev/rules.d; sudo journalctl --dmesg --output cat | grep -o 'md/raid.*active'"
    )
    return machine.ssh(look, check=False, capture_output=True).stdout


def compare(s3, snapshot, image, name):
    """The archive of a whole disk with the disk of the snapshot: nobody wrote to the temporary volume before it was read."""
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="archives")["Contents"] if f"{snapshot}.img.zst" in each["Key"]]
    archived = s3.get_object(Bucket="archives", Key=min(keys, key=len))["Body"].read()
    stored = run("zstd", "-dc", input=archived, stdout=subprocess.PIPE).stdout
    if stored != image.read_bytes():
        sys.exit(f"the archive of {name} is not its snapshot")
    print(f"{name}: the archive is the snapshot, byte for byte", flush=True)


def play(directory, environment, playbook, **variables):
    """A playbook of the collection, by ssh and sudo, with two lanes on the machine."""
    given = {"coldstore_bucket": "archives", "coldstore_prepare_workers": False, **variables}
    command = [VENV / "ansible-playbook", f"coldstore.ebs.{playbook}", "-i", "inventory.json", "-e", json.dumps(given)]
    run(*command, cwd=directory, env=environment)


def main():
    build()
    with ExitStack() as after:
        directory = Path(tempfile.mkdtemp(prefix="coldstore-machine.", dir=REPO / ".build"))
        after.callback(shutil.rmtree, directory)
        os.environ[guard.VARIABLE] = directory.name
        guard.start(directory.name, [os.getpid()], clear=[str(directory)])
        state = directory / "lab"
        machine = Machine(directory)
        after.callback(machine.close)
        lab(state, "up")
        after.callback(lab, state, "down")
        snapshots = [line.split()[0] for line in lab(state, "seed", *SEEDS).splitlines()]
        exported = dict(line.removeprefix("export ").split("=", 1) for line in lab(state, "env").splitlines())
        environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(REPO / ".build/tree"), LC_ALL="C.UTF-8", **exported)
        wait_for(lambda: machine.ssh("true", check=False).returncode == 0, 300)
        there = "".join(f"{name}={value.replace('127.0.0.1', HOST)}\n" for name, value in exported.items())
        machine.ssh("sudo tee /etc/environment > /dev/null", there)
        machine.ssh("uname -sr; python3 --version")

        done = threading.Event()

        def follow():
            while not done.wait(0.5):
                machine.hand_on(attached(state))

        follower = threading.Thread(target=follow)
        follower.start()
        after.callback(follower.join)
        after.callback(done.set)

        ssh = {
            "ansible_host": "127.0.0.1", "ansible_port": machine.port, "ansible_user": "admin",
            "ansible_ssh_private_key_file": str(BUILD / "key"),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
        }  # fmt: skip
        inventory = {"workers": {"hosts": {"lane1": {}, "lane2": {}}, "vars": ssh}}
        (directory / "inventory.json").write_text(json.dumps(inventory))
        os.environ.update(exported)
        region = json.loads((state / "lab.json").read_text())["region"]
        s3 = boto3.client("s3", region_name=region)
        s3.create_bucket(Bucket="archives", CreateBucketConfiguration={"LocationConstraint": region})
        pools = {name: pool(machine, boto3.client("ec2", region_name=region), commands) for name, commands in POOLS.items()}
        before = activated(machine)
        play(directory, environment, "migrate", coldstore_validate=True)
        for name, snapshot in pools.items():
            compare(s3, snapshot, state / "snapshots" / f"{snapshot}.img", name)
        play(directory, environment, "drill", coldstore_snapshots=[*snapshots, *pools.values()])
        if activated(machine) != before:
            sys.exit(f"the worker made something of a temporary volume: {activated(machine)}")
        left = json.loads(lab(state, "status"))["volumes"]
        if left:
            sys.exit(f"left behind: {left}")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the device of a volume, and deciding what becomes of what is on it."""

import subprocess
import sys
import threading

import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Permanent, Refused, Stopped
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import attached, filesystems, mounts, spool, udev
from ansible_collections.coldstore.ebs.plugins.module_utils.worker.attached import Disk, Filesystem
from conftest import TREE
from fakes import MovedClock

VOLUME = "vol-0123456789abcdef0"


def file(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def disk(root, name, partitions=()):
    file(root / "sys/class/block" / name / "size", "2048")
    file(root / "sys/block" / name / "size", "2048")
    file(root / "dev" / name)
    for number in partitions:
        for fact, value in (("partition", number), ("start", 8), ("size", 8)):
            file(root / "sys/class/block" / name / f"{name}p{number}" / fact, str(value))


def test_on_nitro_the_serial_is_the_volume(tmp_path):
    """Whatever name was asked for, and whatever other disks there are."""
    disk(tmp_path, "nvme0n1")
    disk(tmp_path, "nvme1n1")
    file(tmp_path / "sys/block/nvme0n1/device/serial", "vol0aaaaaaaaaaaaaaaa\n")
    file(tmp_path / "sys/block/nvme1n1/device/serial", VOLUME.replace("-", "") + "   \n")
    assert attached.device_of(VOLUME, "/dev/sdf", str(tmp_path)) == str(tmp_path / "dev/nvme1n1")


def test_the_link_by_id_leads_to_the_device(tmp_path):
    """udev's name for it."""
    disk(tmp_path, "nvme3n1")
    link = tmp_path / "dev/disk/by-id" / f"nvme-Amazon_Elastic_Block_Store_{VOLUME.replace('-', '')}"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "dev/nvme3n1")
    assert attached.device_of(VOLUME, "", str(tmp_path)) == str(tmp_path / "dev/nvme3n1")


@pytest.mark.parametrize(("asked", "appears"), [("/dev/sdf", "xvdf"), ("/dev/sdf", "sdf"), ("/dev/xvdg", "xvdg")])
def test_on_xen_the_letter_tells(tmp_path, asked, appears):
    """sdf may appear as xvdf."""
    disk(tmp_path, appears)
    assert attached.device_of(VOLUME, asked, str(tmp_path)) == str(tmp_path / "dev" / appears)


def test_no_device_in_time_is_an_error_that_names_the_volume(tmp_path):
    """After the timeout, by the clock."""
    clock = MovedClock()
    with pytest.raises(Permanent, match="no device has appeared after 30 s") as caught:
        attached.wait_for_device(VOLUME, "/dev/sdf", 30, Stop(), clock, root=str(tmp_path))
    assert caught.value.facts["volume"] == VOLUME
    assert 30 <= clock.seconds - 1000 < 31


def test_partitions_without_nodes_are_waited_for(tmp_path):
    """The kernel knows them before udev has made their nodes."""
    disk(tmp_path, "xvdf", partitions=(1, 2))
    clock = MovedClock()
    sleep = clock.sleep

    def later(seconds, stop):
        sleep(seconds, stop)
        if clock.seconds > 1005:
            file(tmp_path / "dev/xvdfp1")
            file(tmp_path / "dev/xvdfp2")

    clock.sleep = later
    assert attached.wait_for_device(VOLUME, "/dev/sdf", 30, Stop(), clock, root=str(tmp_path)).endswith("xvdf")
    assert clock.seconds > 1005


def test_a_missing_command_is_refused():
    """With the role that installs it."""

    def command(arguments):
        raise FileNotFoundError(arguments[0])

    with pytest.raises(Refused, match="blkid is not installed"):
        attached.probe("/dev/null", command)


def filesystem(kind, number=1, **facts):
    return Filesystem(number, "/dev/null", 0, 0, dict(facts, TYPE=kind) if kind else facts)


@pytest.mark.parametrize(
    ("kind", "form"),
    [("swap", "record"), ("LVM2_member", "image"), ("linux_raid_member", "image"), ("crypto_LUKS", "image"), ("zfs_member", "image"),
     ("", "image"), ("squashfs", "image"), ("ntfs", "image")],
)  # fmt: skip
def test_what_is_not_on_the_list_is_never_mounted(kind, form):
    """Types come from an allow-list; everything else becomes an image, with the reason, and swap is recorded."""
    settled = mounts.classify(filesystem(kind))
    assert settled.form == form
    assert settled.reason


def test_ntfs_is_imaged_wherever_it_could_be_mounted():
    """Its files in a tar would be without owners, permissions and streams, which nobody would notice before the restore."""
    assert "permissions" in mounts.classify(filesystem("ntfs")).reason


@pytest.mark.parametrize("way", ["_OPTIONS", "_TO_FILL"])
def test_names_and_times_of_vfat_do_not_depend_on_the_kernels_defaults(way):
    """Amazon Linux and RHEL show names as ASCII unless told otherwise."""
    assert "utf8,tz=UTC" in getattr(mounts, way)["vfat"]


def test_a_bios_boot_partition_is_known_by_its_type():
    """It holds code and no filesystem."""
    settled = mounts.classify(filesystem("", PART_ENTRY_TYPE="21686148-6449-6e6f-744e-656564454649"))
    assert "BIOS boot" in settled.reason


class Commands:
    """Stands for mount and umount: fails mounts whose options match."""

    def __init__(self, *failing):
        self.failing = failing
        self.asked = []

    def __call__(self, arguments):
        self.asked.append(arguments)
        bad = arguments[0] == "mount" and any(word in arguments[4].split(",") or word == arguments[2] for word in self.failing)
        return subprocess.CompletedProcess(arguments, 32 if bad else 0, "", "mount: no such luck\n" if bad else "")


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat"])
def test_every_mount_is_read_only_and_harmless(kind, tmp_path):
    """ro,nosuid,nodev,noexec for every type, by a driver that is named."""
    commands = Commands()
    treatment = mounts._treat(filesystem(kind), str(tmp_path), commands)
    assert treatment.form == "tar"
    assert commands.asked[0][4].startswith("ro,nosuid,nodev,noexec")
    assert commands.asked[0][1] == "-t"


def test_a_superblock_that_says_panic_is_overridden(tmp_path):
    """errors=remount-ro is asked for, whatever the filesystem says."""
    commands = Commands()
    mounts._treat(filesystem("ext4"), str(tmp_path), commands)
    assert "errors=remount-ro" in commands.asked[0][4].split(",")


def test_a_journal_that_cannot_be_replayed_is_done_without(tmp_path):
    """xfs without nouuid,norecovery fails here; the second way works, and the manifest will say so."""
    commands = Commands()
    first = commands.__call__

    def once(arguments):
        done = first(arguments)
        bad = arguments[0] == "mount" and "norecovery" not in arguments[4]
        return subprocess.CompletedProcess(arguments, 32, "", "bad log") if bad else done

    assert mounts._treat(filesystem("xfs"), str(tmp_path), once).journal == "skipped"


def test_what_cannot_be_mounted_is_imaged_with_the_reason(tmp_path):
    """A kernel without vfat, say."""
    treatment = mounts._treat(filesystem("vfat"), str(tmp_path), Commands("vfat"))
    assert treatment.form == "image"
    assert "no such luck" in treatment.reason


class OneAtATime(Commands):
    """Stands for mount before Linux 6.7 while another btrfs of the UUID is known, and mounted or not."""

    def __init__(self, mounted=False, tool=True):
        super().__init__()
        self.known, self.mounted, self.tool = True, mounted, tool

    def __call__(self, arguments):
        done = super().__call__(arguments)
        if arguments[0] == "btrfs" and not self.tool:
            raise FileNotFoundError("btrfs")
        if arguments == ["btrfs", "device", "scan", "--forget"]:
            self.known = self.mounted
        if arguments[0] == "mount" and self.known:
            return subprocess.CompletedProcess(arguments, 32, "", "mount: mount(2) system call failed: File exists.\n")
        return done


def test_a_btrfs_that_the_kernel_only_remembers_is_forgotten(tmp_path):
    """A snapshot of the same volume was attached before; nothing else that was forgotten stays so."""
    kernel = OneAtATime()
    assert mounts._treat(filesystem("btrfs"), str(tmp_path), kernel).form == "tar"
    scans = [call for call in kernel.asked if call[:3] == ["btrfs", "device", "scan"]]
    assert scans == [["btrfs", "device", "scan", "--forget"], ["btrfs", "device", "scan"]]


@pytest.mark.parametrize("kernel", [OneAtATime(mounted=True), OneAtATime(tool=False)])
def test_a_btrfs_whose_uuid_is_mounted_by_somebody_is_imaged(kernel, tmp_path):
    """The worker's own root, say; the manifest says why."""
    assert "File exists" in mounts._treat(filesystem("btrfs"), str(tmp_path), kernel).reason


def test_mounts_of_one_btrfs_wait_for_each_other(tmp_path, monkeypatch):
    """Those of others do not; and a stop ends the wait."""
    monkeypatch.setattr(mounts, "_LOCKS", str(tmp_path / "locks"))
    entered = threading.Event()
    stopped, later = Stop(), Stop()

    def wait():
        with mounts._alone("one", later):
            entered.set()

    with mounts._alone("one", Stop()), mounts._alone("other", Stop()):
        waiting = threading.Thread(target=wait)
        waiting.start()
        stopped.request("enough")
        with pytest.raises(Stopped, match="enough"), mounts._alone("one", stopped):
            pass
        assert not entered.wait(0.2)
    waiting.join(10)
    assert entered.is_set()


def test_what_the_host_unmounts_is_not_held(tmp_path):
    """A job runs for hours; a disk that is taken off the worker meanwhile must not stay busy."""
    code = (
        "from ansible_collections.coldstore.ebs.plugins.module_utils.worker import mounts\n"
        "with mounts.private_namespace():\n"
        "    print(open('/proc/self/mounts').read().count(' PLACE '), flush=True)\n"
        "    input()\n"
        "    print(open('/proc/self/mounts').read().count(' PLACE '), flush=True)\n"
    ).replace("PLACE", str(tmp_path))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)
    try:
        environment = {"PYTHONPATH": str(TREE)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        job = subprocess.Popen([sys.executable, "-c", code], text=True, env=environment, **pipes)
        assert job.stdout.readline() == "1\n"
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert job.communicate("go on\n", timeout=60)[0] == "0\n"


def test_a_mount_point_that_is_missing_is_refused(tmp_path):
    """Before anything is mounted; in a child, since a namespace is for good."""
    code = (
        "from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop\n"
        "from ansible_collections.coldstore.ebs.plugins.module_utils.worker import mounts, attached\n"
        "try:\n"
        "    with mounts.mounted(attached.Disk('/dev/null', 0, None, ()), Stop(), '/does/not/exist'): pass\n"
        "except mounts.Unfit as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(TREE)}, check=True)
    assert "mount point /does/not/exist is not a directory" in done.stdout


def test_udev_is_told_to_ignore_a_volume(tmp_path):
    """By a rule of its own, which goes with it; whether udev heeds it only tests/machine can show."""
    file(tmp_path / "run/udev/control")
    said = []

    def command(arguments):
        said.append((arguments, [each.name for each in (tmp_path / "run/udev/rules.d").iterdir()]))
        return subprocess.CompletedProcess(arguments, 0, "", "")

    udev.ignore(VOLUME, command, str(tmp_path))
    name = f"59-coldstore-ebs-{VOLUME}.rules"
    assert said == [(["udevadm", "control", "--reload"], [name])]
    rule = (tmp_path / "run/udev/rules.d" / name).read_text()
    assert 'ATTRS{serial}=="vol0123456789abcdef0"' in rule
    assert rule.endswith('ENV{SYSTEMD_READY}="0"\n')
    udev.forget("vol-0123456789abcdef1", str(tmp_path))
    assert list((tmp_path / "run/udev/rules.d").iterdir())
    udev.forget(VOLUME, str(tmp_path))
    assert not list((tmp_path / "run/udev/rules.d").iterdir())


def test_a_host_without_udev_needs_no_rule(tmp_path):
    """Nothing looks at disks there."""
    udev.ignore(VOLUME, lambda arguments: pytest.fail("nobody to tell"), str(tmp_path))
    assert not (tmp_path / "run").exists()


def test_a_udev_that_cannot_be_told_is_refused(tmp_path):
    """Before the volume is attached."""
    file(tmp_path / "run/udev/control")
    with pytest.raises(Refused, match="cannot be told to ignore vol-0123456789abcdef0: no such socket"):
        udev.ignore(VOLUME, lambda arguments: subprocess.CompletedProcess(arguments, 1, "", "no such\nsocket\n"), str(tmp_path))
    file(tmp_path / "run/udev/rules.d/file")
    (tmp_path / f"run/udev/rules.d/59-coldstore-ebs-{VOLUME}.rules").unlink()
    (tmp_path / f"run/udev/rules.d/59-coldstore-ebs-{VOLUME}.rules").mkdir()
    with pytest.raises(Refused, match="Is a directory"):
        udev.ignore(VOLUME, lambda arguments: pytest.fail("there is no rule"), str(tmp_path))


def test_a_disk_that_lvm_or_md_has_taken_is_refused(tmp_path):
    """An array that was assembled from it may have been written to."""
    filesystem = Filesystem(1, "/dev/nvme1n1p1", 0, 1, {"TYPE": "linux_raid_member"})
    disk = Disk("/dev/nvme1n1", 1, {}, (filesystem,))
    attached.check_alone(disk, str(tmp_path))
    (tmp_path / "sys/class/block/nvme1n1p1/holders").mkdir(parents=True)
    attached.check_alone(disk, str(tmp_path))
    file(tmp_path / "sys/class/block/nvme1n1p1/holders/md127")
    with pytest.raises(Refused, match="/dev/nvme1n1p1 is in use by md127"):
        attached.check_alone(disk, str(tmp_path))


def test_a_spool_that_is_full_or_missing_is_refused(tmp_path):
    """Before anything is read."""
    with pytest.raises(Refused, match="not a writable directory"):
        spool.check(str(tmp_path / "missing"))
    with pytest.raises(Refused, match="bytes free"):
        spool.check(str(tmp_path), least=1 << 62)
    spool.check(str(tmp_path))


def test_a_device_of_another_size_is_another_disk():
    """It is refused before a byte of it is taken for the snapshot's."""
    attached.check_size(Disk("/dev/x", 1 << 30, None, ()), 1 << 30)
    with pytest.raises(Permanent, match="1073741824 bytes, the snapshot's volume 2147483648"):
        attached.check_size(Disk("/dev/x", 1 << 30, None, ()), 2 << 30)


def test_a_disk_is_plain_data():
    """Two inspections of the same disk are equal."""
    assert Disk("/dev/x", 1, None, ()) == Disk("/dev/x", 1, None, ())


def test_a_vfat_on_a_whole_disk_comes_back_without_a_partition_table(blank_device):
    """Left to itself mkfs.vfat writes one on NVMe disks, not on loop devices, and the kernel shows a partition that was not there."""
    asked = []

    def command(arguments, text=""):
        asked.append(arguments)
        return attached.run(arguments, text)

    facts = {"UUID": "C01D-5708", "LABEL": "FAT", "VERSION": "FAT12", "TYPE": "vfat"}
    assert filesystems.make({"type": "vfat", "facts": facts, "size": 8 << 20}, blank_device, 8 << 20, command) is None
    assert [call for call in asked if call[0] == "mkfs.vfat" and "--mbr=n" not in call] == []
    found = attached.probe(blank_device)
    assert {name: found.get(name) for name in facts} == facts
    assert "PTTYPE" not in found


def test_a_partition_that_starts_with_the_disk_is_the_disk(blank_device):
    """What mkfs.vfat 4.2 leaves on an NVMe disk; a table with such a partition could not be written again."""
    subprocess.run(["mkfs.vfat", "--mbr=yes", blank_device], check=True, capture_output=True)
    subprocess.run(["addpart", blank_device, "1", "0", "2048"], check=True)
    try:
        disk = attached.inspect(blank_device)
        assert (disk.table, [(each.number, each.type) for each in disk.filesystems]) == (None, [(None, "vfat")])
    finally:
        subprocess.run(["delpart", blank_device, "1"], check=True)


def test_an_older_mkfs_vfat_is_asked_without_the_option(blank_device):
    """dosfstools 4.1, as on Amazon Linux 2 and RHEL 8, writes no table and does not know how not to."""

    def command(arguments, text=""):
        if "--mbr=n" in arguments:
            return subprocess.CompletedProcess(arguments, 1, "", "mkfs.vfat: unrecognized option '--mbr=n'")
        return attached.run(arguments, text)

    assert "--mbr=n" in filesystems.make({"type": "vfat", "facts": {}, "size": 8 << 20}, blank_device, 8 << 20, command)
    assert attached.probe(blank_device)["TYPE"] == "vfat"

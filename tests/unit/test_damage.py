# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged disks: all that can be read is kept, and what is lost is counted."""

import os
import subprocess
import time
from pathlib import Path

import disks
import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Permanent
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive, codecs, validate
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket import layouts
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.differences import Differences, compare_losses
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources import Problem, losses
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.device import DeviceSource
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.directory import DirectoryTarget
from ansible_collections.coldstore.ebs.plugins.module_utils.worker.noticed import errors
from damage import BLOCK, bad_sectors, block_of, cool, ext4, made, physical, spoil
from fakes import SNAPSHOT
from test_compare_files import compared
from trees import compare, extract, mounted

KIB = 1024


def stream(source):
    return b"".join(bytes(source.read(chunk)) for chunk in source.plan())


def unknown(source):
    """What a validation says of a source that its archive knows no losses of: (what, offset)."""
    found = Differences()
    compare_losses("key", source, [], found)
    return {(each["attribute"], each["offset"]) for each in found.listed}


def kept(image, target, options="ro"):
    """A damaged image as far as it can be read, extracted by tar; what was lost; and that it fails if it is to fail."""
    with disks.attached(image) as device, mounted(device, options) as root:
        with pytest.raises(Permanent) as caught:
            stream(TarSource(str(root)))
        source = TarSource(str(root), on_error="zero")
        first, second = stream(source), stream(source)
    assert first == second
    extract(first, target, "tar")
    ours = DirectoryTarget(str(target) + ".ours")
    ours.write(0, first)
    ours.finish()
    ours.close()
    assert compare(target, str(target) + ".ours") == []
    return losses.merged(source.problems), caught.value


def test_a_file_whose_attributes_are_damaged_keeps_its_data_and_its_names(tmp_path):
    """A hard link is to a file that is in the archive."""
    with ext4(tmp_path / "img") as root:
        (root / "a").mkdir()
        (root / "first").write_bytes(b"x" * 100_000)
        os.setxattr(root / "first", "user.big", b"y" * 2000)
        os.link(root / "first", root / "second")
        (root / "z-fine").write_text("fine")
    spoil(tmp_path / "img", *block_of(tmp_path / "img", "stat /first", r"File ACL: (\d+)"), at=3000)
    problems, error = kept(tmp_path / "img", tmp_path / "out")
    assert [(each.path, each.what) for each in problems] == [(b"first", "attributes")]
    assert (error.facts["path"], "offset" in error.facts) == (b"first", False)
    assert "extended attributes cannot be listed" in str(error)
    assert (tmp_path / "out/first").read_bytes() == (tmp_path / "out/second").read_bytes() == b"x" * 100_000
    assert (tmp_path / "out/first").stat().st_nlink == 2
    assert (tmp_path / "out/z-fine").read_text() == "fine"


@pytest.mark.parametrize("number", [19, -1])
def test_a_directory_with_a_bad_block_keeps_the_names_before_and_behind_it(tmp_path, number):
    """Only those in the block are lost, wherever it is."""
    with ext4(tmp_path / "img") as root:
        (root / "dir").mkdir()
        for name in range(2000):
            (root / "dir" / f"{name:04}-{name:040}").write_text(str(name))
    blocks = subprocess.run(["debugfs", "-R", "blocks /dir", tmp_path / "img"], check=True, capture_output=True, text=True).stdout
    spoil(tmp_path / "img", int(blocks.split()[number]))
    problems, error = kept(tmp_path / "img", tmp_path / "out")
    there = os.listdir(tmp_path / "out/dir")
    assert 2000 - BLOCK // 56 <= len(there) < 2000
    assert all((tmp_path / "out/dir" / name).read_text() == str(int(name[:4])) for name in there)
    assert [(each.path, each.what) for each in problems] == [(b"dir", "names")]
    assert error.facts["path"] == b"dir"


def test_a_file_whose_extents_are_damaged_keeps_those_that_are_not(tmp_path):
    """The map of a file's blocks is in several blocks itself: what one of them holds is zeros, the rest is kept."""
    size = 2000 * BLOCK
    original = bytearray(size)
    with ext4(tmp_path / "img") as root, open(root / "file", "wb") as file:
        file.truncate(size)
        for at in range(0, size, 2 * BLOCK):  # every other block: each is an extent of its own
            original[at : at + BLOCK] = b"%8d" % at * (BLOCK // 8)
            os.pwrite(file.fileno(), original[at : at + BLOCK], at)
    leaves = block_of(tmp_path / "img", "stat /file", r"ETB0\):(\d+)")
    spoil(tmp_path / "img", leaves[1], at=400)
    problems, error = kept(tmp_path / "img", tmp_path / "out")
    found = (tmp_path / "out/file").read_bytes()
    assert len(found) == size
    unequal = [at for at in range(0, size, BLOCK) if found[at : at + BLOCK] != original[at : at + BLOCK]]
    assert 300 < len(unequal) < 400
    assert all(not any(found[at : at + BLOCK]) for at in unequal)
    assert {each.what for each in problems} == {"content"}
    assert all(any(p.offset <= at < p.offset + p.length for p in problems) for at in unequal)
    assert sum(each.length for each in problems) <= 3 * 340 * BLOCK
    assert error.facts["path"] == b"file"


@pytest.mark.parametrize("warm", [True, False])
def test_a_bad_stretch_of_a_device_costs_that_stretch(tmp_path, warm):
    """8 KiB of EIO are 8 KiB of zeros, whatever the page cache holds or reads ahead."""
    content = os.urandom(4 << 20)
    (tmp_path / "img").write_bytes(content)
    bad = 1024 * KIB + 5 * BLOCK
    with bad_sectors(tmp_path / "img", [(bad, 8 * KIB)]) as device:
        cool(device)
        if warm:
            Path("/sys/block", Path(device).name, "queue/read_ahead_kb").write_text("0")
            with open(device, "rb", buffering=0) as file:
                for at in [*range(0, bad, BLOCK), *range(bad + 8 * KIB, len(content), BLOCK)]:
                    os.pread(file.fileno(), BLOCK, at)
        source = DeviceSource(device, on_error="zero")
        found = stream(source)
        source.close()
        assert [(each.offset, each.length) for each in losses.merged(source.problems)] == [(bad, 8 * KIB)]
        assert found == content[:bad] + bytes(8 * KIB) + content[bad + 8 * KIB :]
        again = DeviceSource(device)
        again.leave_out(source.problems)
        assert stream(again) == found
        again.close()
        assert [unknown(each) for each in (source, again)] == [{("content", bad)}, set()]


@pytest.mark.parametrize("warm", [True, False])
def test_a_bad_stretch_of_a_file_costs_that_stretch(tmp_path, warm):
    """The same through a filesystem, and a name that cannot be followed is lost by itself, all its names too."""
    content = os.urandom(8 << 20)
    with ext4(tmp_path / "img") as root:
        (root / "file").write_bytes(content)
        os.symlink("t" * 200, root / "link")
        os.link(root / "link", root / "link2", follow_symlinks=False)
        (root / "z-fine").write_text("fine")
    first = block_of(tmp_path / "img", "bmap /file 1000", r"(\d+)")[0]
    link = block_of(tmp_path / "img", "bmap /link 0", r"(\d+)")[0]
    with disks.attached(tmp_path / "img") as device, mounted(device) as root:
        theirs = subprocess.run(["tar", "--sort=name", "-C", root, "-c", "."], capture_output=True, check=True).stdout
    with bad_sectors(tmp_path / "img", [(first * BLOCK, 8 * KIB), (link * BLOCK, BLOCK)]) as device, mounted(device) as root:
        cool(device)
        if warm:
            with open(root / "file", "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                for at in [*range(0, 1000 * BLOCK, BLOCK), *range(1002 * BLOCK, len(content), BLOCK)]:
                    os.pread(file.fileno(), BLOCK, at)
        source = TarSource(str(root), on_error="zero")
        extract(stream(source), tmp_path / "out", "tar")
        problems = losses.merged(source.problems)
        assert {("file", "content"), ("link", "content")} <= compared(theirs, root)
        again = TarSource(str(root), on_error="zero")
        again.leave_out(problems)
        assert stream(again) == stream(source)
    assert [each[:3] + each[4:] for each in problems] == [
        (b"file", 1000 * BLOCK, 8 * KIB, "content"),
        (b"link", 0, 0, "entry"),
        (b"link2", 0, 0, "entry"),
    ]
    assert (tmp_path / "out/file").read_bytes() == content[: 1000 * BLOCK] + bytes(8 * KIB) + content[1002 * BLOCK :]
    assert losses.counted(problems) == {
        "entries": 2, "directories": 0, "files": 1, "bytes": 8 * KIB, "attributes": 0, "errors": 0,
    }  # fmt: skip
    assert losses.sentence(losses.counted(problems)) == "8192 bytes of 1 file, 2 entries of directories"
    assert losses.sentence(losses.counted([])) == ""
    assert (tmp_path / "out/z-fine").read_text() == "fine"


def test_damage_that_the_kernel_only_counts_is_a_problem(tmp_path):
    """ext4 leaves out a directory's block whose checksum is wrong, without an error to the reader."""
    with ext4(tmp_path / "img", features="metadata_csum,^dir_index") as root:
        (root / "dir").mkdir()
        for number in range(500):
            (root / "dir" / f"{number:04}-{number:040}").touch()
    blocks = subprocess.run(["debugfs", "-R", "blocks /dir", tmp_path / "img"], check=True, capture_output=True, text=True).stdout
    spoil(tmp_path / "img", int(blocks.split()[-1]))
    with disks.attached(tmp_path / "img") as device, mounted(device) as root:
        mounting = int(time.time())
        counted = errors("ext4", device, str(root), mounting + 5)
        source = TarSource(str(root), noticed=counted)
        source.check()  # nothing was read, nothing is new
        stream(source)
        with pytest.raises(Permanent, match=r"counted errors of this filesystem while it was read \(1\)"):
            source.check()
        counted = errors("ext4", device, str(root), mounting)  # the one of this mount, which may count no more
        source = TarSource(str(root), on_error="zero", noticed=counted)
        stream(source)
        source.check()
        assert losses.counted(losses.merged(source.problems))["errors"] > 0
    with disks.attached(tmp_path / "img") as device, mounted(device) as root:
        assert errors("ext4", device, str(root), mounting + 3600)() == 0  # what was counted before is old


def test_btrfs_counts_the_errors_of_its_devices(tmp_path):
    """A read of a file whose checksum is wrong is counted."""
    made(tmp_path / "img", 128 << 20, "mkfs.btrfs", "-q", "-m", "single")
    with disks.attached(tmp_path / "img") as device:
        with mounted(device, "rw") as root:
            (root / "file").write_bytes(b"some content" * 1000)
            os.sync()
            (place,) = physical(root / "file", device, 0, BLOCK)
        spoil(tmp_path / "img", 0, at=place)
        cool(device)
        with mounted(device) as root:
            counted = errors("btrfs", device, str(root), 0)
            assert counted() == 0
            with pytest.raises(OSError, match="Input/output error"):
                (root / "file").read_bytes()
            assert counted() > 0


def test_losses_that_touch_are_one():
    """Whatever reads they come from, in whatever order; what is told twice counts once."""
    told = [Problem(b"f", 8, 8, "x"), Problem(b"f", 0, 8, "x"), Problem(b"f", 8, 8, "x"), Problem(b"f", 12, 8, "y")]
    assert losses.merged(told) == [Problem(b"f", 0, 20, "x")]
    apart = [Problem(b"f", 0, 8, "x"), Problem(b"f", 9, 8, "x"), Problem(b"g", 17, 8, "x")]
    assert losses.merged(apart) == apart


@pytest.mark.parametrize(
    ("begin", "end", "left"),
    [(0, 10, [(0, 10)]), (0, 15, [(0, 10)]), (12, 35, [(20, 30)]), (10, 20, []), (39, 50, [(40, 50)]), (5, 50, [(5, 10), (20, 30), (40, 50)])],
)  # fmt: skip
def test_what_is_listed_is_not_read(begin, end, left):
    """Stretches are cut out of what is asked for, wherever that begins and ends."""
    stretches = losses.Stretches([Problem(b"f", 30, 10, "x"), Problem(b"f", 10, 10, "x")])
    assert list(stretches.between(begin, end)) == left


@pytest.mark.parametrize("on_error", ["fail", "zero"])
def test_a_file_with_more_attributes_than_linux_can_list_keeps_its_data(tmp_path, on_error):
    """The filesystem is sound, so nothing fails; what is missing is listed."""
    made(tmp_path / "img", 300 << 20, "mkfs.xfs", "-q")
    with disks.attached(tmp_path / "img") as device, mounted(device, "rw") as root:
        (root / "file").write_bytes(b"kept" * 5000)
        (root / "large").write_bytes(b"kept too")
        os.setxattr(root / "large", "user.large", b"v" * 65536)
        os.setxattr(root / "large", b"user.odd\n\xff=%", b"")
        for number in range(280):
            os.setxattr(root / "file", f"user.{number:0250}", b"x")
        with pytest.raises(OSError, match="Argument list too long"):
            os.listxattr(root / "file")
        source = TarSource(str(root), on_error=on_error)
        extract(stream(source), tmp_path / "out", "tar")
        assert os.getxattr(root / "file", f"user.{7:0250}") == b"x"
    (problem,) = source.problems
    assert (problem.path, problem.what) == (b"file", "attributes")
    assert "an image of the disk keeps them" in problem.reason
    assert (tmp_path / "out/file").read_bytes() == b"kept" * 5000


def test_a_directory_that_is_encrypted_without_its_key_is_named(tmp_path):
    """What the kernel makes up for its names is not archived; with the key it is a directory as any other."""
    made(tmp_path / "img", 64 << 20, "mkfs.ext4", "-q", "-F", "-O", "encrypt")
    with disks.attached(tmp_path / "img") as device:
        with mounted(device, "rw") as root:
            (root / "fine").write_text("fine")
        with mounted(device, "rw,test_dummy_encryption") as root:
            (root / "dir" / "inner").mkdir(parents=True)
            (root / "dir" / "secret").write_bytes(b"secret" * 1000)
            source = TarSource(str(root))
            extract(stream(source), tmp_path / "open", "tar")
            assert (source.problems, source.flags["encrypted"] >= 3) == ([], True)
        problems, error = kept(tmp_path / "img", tmp_path / "out")
    assert (tmp_path / "open/dir/secret").read_bytes() == b"secret" * 1000
    assert os.listdir(tmp_path / "out/dir") == []
    assert (tmp_path / "out/fine").read_text() == "fine"
    assert [(each.path, each.what) for each in problems] == [(b"dir", "names")]
    assert "fscrypt" in str(error)
    assert "an image of the disk keeps it" in str(error)


def test_bytes_that_could_not_be_read_are_not_read_again_by_a_validation(memory, tmp_path):
    """They are taken for zeros, and the receipt counts them; damage that came later is a difference, with its place in the file."""
    with ext4(tmp_path / "img") as root:
        (root / "before").write_bytes(os.urandom(50_000))
        (root / "file").write_bytes(os.urandom(8 << 20))
    first, second, third = (block_of(tmp_path / "img", f"bmap /file {number}", r"(\d+)")[0] * BLOCK for number in (500, 1000, 1001))

    def archived_or_validated(stretches, job):
        with bad_sectors(tmp_path / "img", stretches) as device, mounted(device) as root:
            cool(device)
            return job(lambda chunk: TarSource(str(root), chunk_size=chunk, on_error="zero"))

    def archived(source):
        settings = archive.Recipe(codecs.codec("lz4"), chunk=1 << 20)
        piece = archive.Section(1, source(1 << 20), 9 << 20)
        return archive.archive_snapshot(memory, SNAPSHOT, {}, "tar", [piece], settings)

    def validated(source):
        found = layouts.find(memory, "", SNAPSHOT)
        return validate.validate_snapshot(
            memory, SNAPSHOT, found, "full", validate.against(validate.Settings(), "volume", {1: source})
        )

    entry = archived_or_validated([(first, BLOCK)], archived).manifest["archives"][0]
    assert [(each["path"], each["offset"], each["length"]) for each in entry["problems"]] == [("file", 500 * BLOCK, BLOCK)]
    for bad in ([(first, BLOCK)], []):  # whether or not it can be read today
        receipt = archived_or_validated(bad, validated)
        assert (receipt["result"], receipt["lost"]["bytes"], receipt["lost"]["files"]) == ("equal", BLOCK, 1)
    receipt = archived_or_validated([(second, BLOCK), (third, BLOCK)], validated)
    assert receipt["result"] == "different"
    assert {(each["path"], each["attribute"], each["offset"]) for each in receipt["differences"]} == {
        ("file", "content", 1000 * BLOCK),
    }  # fmt: skip

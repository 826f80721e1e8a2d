# SPDX-License-Identifier: GPL-3.0-or-later
"""4. Of the user's data nothing is written to but the temporary volume; an image is of one that was never mounted."""

import hashlib
import json
import os

from trees import described


def digest(path):
    """SHA-256 of a file's data and of where it lies; of a device's bytes."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        at = 0 if os.path.isfile(path) else size
        while at < size:
            try:
                at = file.seek(at, os.SEEK_DATA)
            except OSError:  # nothing but a hole from here on
                break
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            file.seek(at)
            found.update(b"%d %d" % (at, end))
            found.update(file.read(end - at))
            at = end
        if not os.path.isfile(path):
            file.seek(0)
            found.update(file.read())
    return found.hexdigest()


def in_reach(lab, own, *trees):
    """A digest of everything that a module could write to: images of snapshots and other volumes, files beside its own, /etc."""
    images = [path for kind in ("snapshots", "volumes") for path in (lab.directory / kind).iterdir() if path.stem != own]
    found = {str(path): digest(path) for path in images}
    for tree in trees:
        found[str(tree)] = described(tree)
    for directory, _names, files in os.walk("/etc"):
        for path in [directory, *(os.path.join(directory, name) for name in files)]:
            status = os.lstat(path)
            found[path] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def changed_blocks(one, other, size=4096):
    """Offsets of the blocks in which two files differ; holes are passed over."""
    found = []
    with open(one, "rb") as first, open(other, "rb") as second:
        at = 0
        while True:
            pieces = first.read(1 << 20), second.read(1 << 20)
            if not any(pieces):
                return found
            if pieces[0] != pieces[1]:
                found += [at + n for n in range(0, len(pieces[0]), size) if pieces[0][n : n + size] != pieces[1][n : n + size]]
            at += len(pieces[0])


def test_invariant_4_nothing_but_the_temporary_volume_is_written_to(lab, bucket, seeds, blank_device, tmp_path):
    """And that only where a journal is replayed. Archived, validated and restored, with other people's things beside all of it."""
    own, beside = (tmp_path / name for name in ("own", "beside"))
    for path in (own / "mounts", own / "spool", beside / "mounts"):
        path.mkdir(parents=True)
    for path in (beside / "mounts" / "file", own / "mounts" / "kept", own / "spool" / "kept"):
        path.write_bytes(b"somebody's\n")
    other = lab.attach(seeds["empty"])
    volume = lab.attach(seeds["gpt"])
    given = {"bucket": bucket, "snapshot_id": seeds["gpt"]}
    where = {"spool": str(own / "spool"), "mount_point": str(own / "mounts")}
    try:
        before = in_reach(lab, volume["volume_id"], own, beside), digest(blank_device)
        done = lab.ok("snapshot_archive_s3", **given, **where, volume_id=volume["volume_id"])
        full = lab.ok("snapshot_validate", **given, **where, volume_id=volume["volume_id"], level="full")
        assert full["result"] == "equal"
        lab.ok("snapshot_restore", **given, spool=where["spool"], partition=1, device=str(tmp_path / "restored.img"))
        assert (in_reach(lab, volume["volume_id"], own, beside), digest(blank_device)) == before
        manifest = json.loads(lab.s3.get_object(Bucket=bucket, Key=done["manifest"])["Body"].read())["body"]
        replayed = [each for each in manifest["disk"]["filesystems"] if each["journal"] in ("replayed", "unknown")]
        images = [
            lab.directory / kind / f"{name}.img" for kind, name in (("snapshots", seeds["gpt"]), ("volumes", volume["volume_id"]))
        ]
        changed = changed_blocks(*images)
        assert changed
        assert all(any(each["start"] <= at < each["start"] + each["size"] for each in replayed) for at in changed)
    finally:
        lab.detach(volume["volume_id"])
        lab.detach(other["volume_id"])


def test_invariant_4_no_image_is_taken_of_a_volume_that_was_mounted(lab, bucket, seeds):
    """Refused for that volume; the next one made for an image is another, and equals the snapshot bit for bit."""
    volume = lab.attach(seeds["gpt"])
    try:
        lab.ok("snapshot_archive_s3", bucket=bucket, prefix="tar/", snapshot_id=seeds["gpt"], volume_id=volume["volume_id"])
        refused = lab.module(
            "snapshot_archive_s3", bucket=bucket, snapshot_id=seeds["gpt"], volume_id=volume["volume_id"], format="image"
        )
        assert "was mounted" in refused["msg"]
        assert lab.keys(bucket, "vol-") == []
        fresh = lab.attach(seeds["gpt"], format="image")
        assert fresh["volume_id"] != volume["volume_id"]
        lab.ok("snapshot_archive_s3", bucket=bucket, snapshot_id=seeds["gpt"], volume_id=fresh["volume_id"], format="image")
        with open(fresh["device"], "rb") as device:
            now = hashlib.sha256(device.read()).hexdigest()
        assert now == hashlib.sha256((lab.directory / "snapshots" / f"{seeds['gpt']}.img").read_bytes()).hexdigest()
    finally:
        for each in lab.volumes():
            lab.detach(each)

# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a filesystem was made, and making another one like it: type, UUID, label, block sizes, features.

An old kernel or boot loader reads only the features it knows, so a filesystem needs the features it had, not the defaults of
today's mkfs. If the manifest does not name a feature, the tools of its day did not know it, and it is switched off. And a full
filesystem has to fit again: a journal of today's size might take the space of the last files.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Mapping
from typing import Any, Callable, Optional

from ..common.errors import Permanent, Refused
from .attached import Run, needed, run

MIB = 1024 * 1024
# Below these sizes mkfs.xfs since 5.19 wants --unsupported, an option that older versions do not know.
_XFS_SMALLEST, _XFS_SMALLEST_LOG = 300 * MIB, 64 * MIB
_LARGEST_PAGE = 64 * 1024  # bytes
_SUBVOL_CREATE = 0x5000940E  # BTRFS_IOC_SUBVOL_CREATE (linux/btrfs.h)
_XFS_FEATURES = {
    "-m": ("crc", "finobt", "rmapbt", "reflink", "bigtime", "inobtcount", "metadir"),
    "-i": ("sparse", "nrext64", "exchange"),
    "-n": ("parent",),
}
# The name for `mkfs.btrfs -O`: the name in `btrfs inspect-internal dump-super`.
_BTRFS_FEATURES = {
    "extref": "EXTENDED_IREF",
    "skinny-metadata": "SKINNY_METADATA",
    "no-holes": "NO_HOLES",
    "free-space-tree": "FREE_SPACE_TREE",
    "block-group-tree": "BLOCK_GROUP_TREE",
    "raid-stripe-tree": "RAID_STRIPE_TREE",
}
_STATES = frozenset(["needs_recovery", "orphan_present"])  # features that describe its state, not how it was made
Entry = Mapping[str, Any]  # one of `filesystems` in a manifest


def describe(kind: str, device: str, path: str, command: Run = run) -> dict[str, Any]:
    """What `make` needs beyond what blkid tells. path: where it is mounted. {} if the tool is missing."""
    look = _DESCRIBE.get(kind)
    try:
        return look(device, path, command) if look else {}
    except FileNotFoundError:
        return {}


def can_make(kind: str) -> bool:
    return kind in _MAKE or kind == "swap"


def make(entry: Entry, device: str, size: int, command: Run = run) -> Optional[str]:
    """Make a filesystem (or swap) like the one in the manifest, of `size` bytes. Returns a warning or None.

    Features that this host's mkfs does not know are left at its defaults, with a warning. Raises Refused for a type that cannot be
    made or a tool that is missing, Permanent if mkfs fails.
    """
    kind, facts = str(entry["type"]), entry["facts"]
    if not can_make(kind):
        raise Refused(f"a filesystem of type {kind} cannot be made here", "Restore its files into a directory instead.")
    if kind == "swap":
        page = (entry.get("make") or {}).get("page_size")
        attempts = [["mkswap", *(["-p", str(page)] if page else []), *_named(facts, "-U", "-L"), device]]
    else:
        attempts = _MAKE[kind](facts, entry.get("make") or {}, device, size, int(entry["size"]), command)
    said = ""
    for number, arguments in enumerate(attempts):
        done = needed(command, arguments)
        if not done.returncode:
            return f"{device}: some defaults of {arguments[0]} were used, because it says: {said}" if number else None
        said = said or " ".join(done.stderr.partition("Usage:")[0].split())
    raise Permanent(
        f"{attempts[0][0]} fails: {said}", "If the UUID is in use, another copy of this disk is attached: detach it.", device=device
    )


def make_subvolume(above: int, name: bytes) -> None:
    """Make a btrfs subvolume instead of a directory. above: the descriptor of the directory above it."""
    fcntl.ioctl(above, _SUBVOL_CREATE, bytearray(struct.pack("=q4088s", 0, name)))


def finish(entry: Entry, path: str, command: Run = run) -> None:
    """Set what can only be set once everything is there: btrfs's default subvolume, and which ones are read-only."""
    made = entry.get("make") or {}
    if made.get("default_subvolume"):
        _must(command, ["btrfs", "subvolume", "set-default", os.path.join(path, made["default_subvolume"])])
    for subvolume in made.get("read_only", []):
        _must(command, ["btrfs", "property", "set", "-ts", os.path.join(path, subvolume), "ro", "true"])


def _ext(device: str, _path: str, command: Run) -> dict[str, Any]:
    done = command(["dumpe2fs", "-h", device])
    said = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    numbers = {"Inode count": "inodes", "Block size": "block_size", "Inode size": "inode_size"}
    numbers.update({"Reserved block count": "reserved", "Block count": "blocks", "Cluster size": "cluster_size"})
    found: dict[str, Any] = {name: int(said[title]) for title, name in numbers.items() if title in said}
    journal = re.match(r"\s*(\d+)([kM])", said.get("Total journal size") or said.get("Journal size") or "")
    if journal:
        found["journal"] = int(journal[1]) * (1024 if journal[2] == "k" else MIB)
    features = said.get("Filesystem features", "").split()
    return dict(found, features=[name for name in features if name not in _STATES]) if features else {}


def _make_ext(facts: Entry, made: Entry, device: str, size: int, size_then: int, _command: Run) -> list[list[str]]:
    base = ["mke2fs", "-q", "-F", "-t", facts["TYPE"], *_named(facts, "-U", "-L")]
    end = [device, f"{size // 1024}k"]
    if not made:
        return [[*base, *end]]
    like = ["-O", ",".join(["none", *made["features"]]), "-b", str(made["block_size"]), "-I", str(made["inode_size"])]
    like += ["-C", str(made["cluster_size"])] if "cluster_size" in made else []
    like += ["-J", f"size={max(1, made['journal'] // MIB)}"] if "journal" in made and size <= size_then else []
    # mke2fs expects the reserve in percent and rounds down.
    like += ["-N", str(made["inodes"] * size // size_then), "-m", f"{100 * (made['reserved'] + 0.5) / made['blocks']:.8f}"]
    return [[*base, *like, *end], [*base, *end]]


def _xfs(_device: str, path: str, command: Run) -> dict[str, Any]:
    """`xfs_info` prints sections of name=value pairs. sectsz and bsize occur in more than one."""
    found: dict[str, Any] = {}
    section = ""
    for line in command(["xfs_info", path]).stdout.splitlines():
        section = line.split("=")[0].strip() or section
        pairs = re.findall(r"([a-z0-9-]+)=(\d+)", line.partition("=")[2])
        if section in ("meta-data", "data", "naming", "log"):
            prefix = f"{section}_" if section in ("naming", "log") else ""
            found.update({prefix + name: int(value) for name, value in pairs})
    return found


def _make_xfs(facts: Entry, made: Entry, device: str, size: int, size_then: int, command: Run) -> list[list[str]]:
    meta = [f"uuid={facts['UUID']}"]
    meant = ["--unsupported"] if _xfs_version(command) >= (5, 19) else []
    base = ["mkfs.xfs", "-q", "-f", *(["-L", facts["LABEL"]] if facts.get("LABEL") else []), "-d", f"size={size}"]
    base += meant if size < _XFS_SMALLEST else []
    plain = [*base, "-m", ",".join(meta), device]
    if not made:
        return [plain]
    usage = needed(command, ["mkfs.xfs"]).stderr  # it lists what can be switched on and off: "-m crc=0|1,finobt=0|1,…"
    words = {"-m": meta, "-i": [f"size={made['isize']}"], "-n": [f"size={made['naming_bsize']}"] if "naming_bsize" in made else []}
    for flag, features in _XFS_FEATURES.items():
        had = {name: made.get(f"naming_{name}" if flag == "-n" else name, 0) for name in features}
        words[flag] += [f"{name}={had[name]}" for name in features if had[name] or f"{name}=0|1" in usage]
    if not made.get("crc") and "naming_ftype" in made:
        words["-n"].append(f"ftype={made['naming_ftype']}")
    words["-n"] += ["version=ci"] if made.get("naming_ascii-ci") else []
    like = [word for flag, said in words.items() if said for word in (flag, ",".join(said))]
    like += ["-b", f"size={made['bsize']}", "-s", f"size={made['sectsz']}"]
    log = made["log_blocks"] * made["log_bsize"] if "log_blocks" in made and size <= size_then else 0
    with_log = [[*base, *like, "-l", f"size={log}", *(meant if log < _XFS_SMALLEST_LOG else []), device]] if log else []
    return [*with_log, [*base, *like, device], plain]


def _xfs_version(command: Run) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)", needed(command, ["mkfs.xfs", "-V"]).stdout)
    return tuple(int(part) for part in found.groups()) if found else ()


def _btrfs(device: str, path: str, command: Run) -> dict[str, Any]:
    text = command(["btrfs", "inspect-internal", "dump-super", device]).stdout
    found: dict[str, Any] = {}
    for name in ("nodesize", "sectorsize"):
        match = re.search(rf"^{name}\s+(\d+)", text, re.MULTILINE)
        if match:
            found[name] = int(match[1])
    match = re.search(r"^csum_type\s+\d+ \((\w+)\)", text, re.MULTILINE)
    if match:
        found["checksum"] = match[1]
    found["mixed"] = "MIXED_GROUPS" in text
    found["features"] = [name for name, flag in _BTRFS_FEATURES.items() if re.search(rf"\b{flag}\b", text)]
    used = command(["btrfs", "filesystem", "df", path]).stdout  # "Metadata, DUP: total=…"; Data+Metadata where they are mixed
    for name in ("data", "metadata"):
        match = re.search(rf"^(?:\w+\+)?{name}(?:\+\w+)?, (single|dup):", used, re.MULTILINE | re.IGNORECASE)
        if match:
            found[name] = match[1].lower()
    default = command(["btrfs", "subvolume", "get-default", path]).stdout
    found["default_subvolume"] = default.partition(" path ")[2].rstrip("\n")
    listed = command(["btrfs", "subvolume", "list", "-r", path]).stdout
    found["read_only"] = sorted(line.partition(" path ")[2] for line in listed.splitlines() if " path " in line)
    return found


def _make_btrfs(facts: Entry, made: Entry, device: str, size: int, _size_then: int, command: Run) -> list[list[str]]:
    base = ["mkfs.btrfs", "-q", "-f", *_named(facts, "-U", "-L"), "-b", str(size)]
    options = {"-n": "nodesize", "-s": "sectorsize", "--csum": "checksum", "-d": "data", "-m": "metadata"}
    like = [word for flag, name in options.items() if name in made for word in (flag, str(made[name]))]
    like += ["-M"] if made.get("mixed") else []
    if "features" in made:
        offered = {flag: needed(command, ["mkfs.btrfs", flag, "list-all"]).stderr for flag in ("-R", "-O")}
        words: dict[str, list[str]] = {"-R": [], "-O": []}
        for name in _BTRFS_FEATURES:
            # Before 6.3 the free space tree is in a separate list, -R. A feature in neither list is asked for, and mkfs refuses it.
            flag = next((each for each, listed in offered.items() if re.search(rf"^{name}\b", listed, re.MULTILINE)), "")
            if name in made["features"]:
                words[flag or "-O"].append(name)
            elif flag:
                words[flag].append(f"^{name}")
        like += [word for flag, said in words.items() if said for word in (flag, ",".join(said))]
    return [[*base, *like, device], [*base, device]] if like else [[*base, device]]


def _make_vfat(facts: Entry, _made: Entry, device: str, size: int, _size_then: int, _command: Run) -> list[list[str]]:
    number = facts.get("UUID", "").replace("-", "")
    width = str(facts.get("VERSION", "")).replace("FAT", "")
    arguments = [*(["-i", number] if number else []), *(["-F", width] if width else [])]
    arguments += [*(["-n", facts["LABEL"]] if facts.get("LABEL") else []), device, str(size // 1024)]
    # On a whole disk dosfstools 4.2 also writes a partition table, with the disk as its one partition. Older ones do not.
    return [["mkfs.vfat", "--mbr=n", *arguments], ["mkfs.vfat", *arguments]]


def _swap(device: str, _path: str, _command: Run) -> dict[str, Any]:
    """Its page size, which is not 4 KiB on every system. The signature is at the end of the first page (include/linux/swap.h)."""
    with open(device, "rb") as file:
        head = file.read(_LARGEST_PAGE)
    sizes = [4096 << shift for shift in range((_LARGEST_PAGE // 4096).bit_length())]
    found = [size for size in sizes if head[size - 10 : size] in (b"SWAPSPACE2", b"SWAP-SPACE")]
    return {"page_size": found[0]} if found else {}


def _named(facts: Entry, uuid: str, label: str) -> list[str]:
    words = [uuid, facts["UUID"]] if facts.get("UUID") else []
    return words + ([label, facts["LABEL"]] if facts.get("LABEL") else [])


def _must(command: Run, arguments: list[str]) -> None:
    done = command(arguments)
    if done.returncode:
        raise Permanent(f"{arguments[0]} {arguments[1]} fails: {' '.join(done.stderr.split())}", path=arguments[-1])


_DESCRIBE: dict[str, Callable[[str, str, Run], dict[str, Any]]] = {
    "ext2": _ext, "ext3": _ext, "ext4": _ext, "xfs": _xfs, "btrfs": _btrfs, "swap": _swap,
}  # fmt: skip
_MAKE: dict[str, Callable[[Entry, Entry, str, int, int, Run], list[list[str]]]] = {
    "ext2": _make_ext, "ext3": _make_ext, "ext4": _make_ext, "xfs": _make_xfs, "btrfs": _make_btrfs, "vfat": _make_vfat,
}  # fmt: skip

# SPDX-License-Identifier: GPL-3.0-or-later
"""Partition tables written again to real devices: the kernel shows what the table says, whatever the numbers."""

import json
import subprocess

import disks
import pytest
from ansible_collections.coldstore.ebs.plugins.module_utils.common.stop import Stop
from ansible_collections.coldstore.ebs.plugins.module_utils.worker import attached, partitions

TABLES = {
    "numbers with gaps, as images of Ubuntu and Debian have them": (
        "label: gpt\n15: start=10240, size=8192, type=U\n14: start=2048, size=8192, type=21686148-6449-6E6F-744E-656564454649\n"
        '1: start=18432, size=20480, type=L, name="ro\\x22ot", attrs="LegacyBIOSBootable"\n'
    ),
    "the last number there is": "label: gpt\n128: start=2048, size=8192, type=L\n",
    "logical partitions": (
        "label: dos\nlabel-id: 0xc01d57b1\nstart=2048, size=8192, type=83, bootable\nstart=10240, size=40960, type=5\n"
        "5: start=12288, size=8192, type=83\n6: start=22528, size=8192, type=82\n"
    ),
    "a disk of 4 KiB of table": "label: gpt\ntable-length: 32\nstart=2048, size=8192, type=L\n",
}


@pytest.fixture
def blank(tmp_path):
    """Makes devices of 32 MiB, or as many as it is told."""
    opened = []

    def make(name, mib=32, table=""):
        image = tmp_path / name
        with open(image, "wb") as file:
            file.truncate(mib << 20)
        if table:
            subprocess.run(["sfdisk", "--quiet", image], input=table, text=True, check=True)
        opened.append(disks.attached(image))
        return opened[-1].__enter__()

    yield make
    for each in opened:
        each.__exit__(None, None, None)


def table_of(device):
    said = json.loads(subprocess.run(["sfdisk", "--json", device], capture_output=True, text=True, check=True).stdout)
    table = said["partitiontable"]
    table.pop("device")
    for each in table["partitions"]:
        each["node"] = partitions.number_of(each)
    return table


def places(device):
    """What the kernel shows, in sectors."""
    return {each.number: (each.start // 512, each.size // 512) for each in attached.inspect(device).filesystems}


def expected(table):
    """The kernel shows two sectors of an extended partition."""
    return {each["node"]: (each["start"], 2 if partitions.is_extended(each) else each["size"]) for each in table["partitions"]}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_comes_back_and_the_kernel_shows_it(blank, name):
    original, fresh = blank("original", table=TABLES[name]), blank("fresh")
    table = attached.inspect(original).table
    disk = partitions.write(fresh, table, False, Stop())
    assert table_of(fresh) == table_of(original)
    assert (
        places(fresh)
        == expected(table_of(original))
        == {each.number: (each.start // 512, each.size // 512) for each in disk.filesystems}
    )


@pytest.mark.parametrize("name", sorted(TABLES))
def test_on_a_larger_disk_the_last_partition_grows(blank, name):
    """The one that ends last, whatever its number; all others stay."""
    original, fresh = blank("original", table=TABLES[name]), blank("fresh", 64)
    partitions.write(fresh, attached.inspect(original).table, True, Stop())
    before, after = expected(table_of(original)), places(fresh)
    last = max(before, key=lambda number: before[number][0])
    assert after.pop(last)[1] > before.pop(last)[1] + 32 * 1024
    assert after == before


def test_partitions_of_an_older_table_are_gone(blank):
    fresh = blank("fresh", table=TABLES["numbers with gaps, as images of Ubuntu and Debian have them"])
    assert sorted(places(fresh)) == [1, 14, 15]
    table = attached.inspect(blank("original", table=TABLES["a disk of 4 KiB of table"])).table
    partitions.write(fresh, table, False, Stop())
    assert places(fresh) == {1: (2048, 8192)}

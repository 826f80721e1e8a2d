# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab refuses what AWS refuses and moto does not, and leaves nothing behind."""

import base64
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import botocore.exceptions
import pytest
from conftest import LAB, REPO, Lab

ZONE = "eu-central-1a"


def refused(code, call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code


def wait_for(what):
    for _attempt in range(200):
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it never happened")


def state(lab, volume_id):
    return lab.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["State"]


@pytest.fixture
def volume(lab):
    made = []

    def make(zone=ZONE, **options):
        made.append(lab.ec2.create_volume(AvailabilityZone=zone, Size=1, **options)["VolumeId"])
        return made[-1]

    yield make
    for each in dict.fromkeys(made):
        wait_for(lambda each=each: state(lab, each) != "creating")
        lab.ec2.delete_volume(VolumeId=each)


def test_volumes_take_time_and_zones_and_names_matter(lab, volume):
    """creating, attaching; another zone, a name in use, twice: all as on EC2."""
    instance = lab.state["instance_id"]
    one, two, far = volume(), volume(), volume(zone="eu-central-1b")
    assert state(lab, one) == "creating"
    refused("IncorrectState", lab.ec2.attach_volume, VolumeId=one, InstanceId=instance, Device="/dev/sdk")
    for each in (one, two, far):
        wait_for(lambda each=each: state(lab, each) == "available")
    refused("InvalidVolume.ZoneMismatch", lab.ec2.attach_volume, VolumeId=far, InstanceId=instance, Device="/dev/sdk")
    lab.ec2.attach_volume(VolumeId=one, InstanceId=instance, Device="/dev/sdk")
    assert lab.ec2.describe_volumes(VolumeIds=[one])["Volumes"][0]["Attachments"][0]["State"] == "attaching"
    refused("InvalidParameterValue", lab.ec2.attach_volume, VolumeId=two, InstanceId=instance, Device="/dev/sdk")
    refused("VolumeInUse", lab.ec2.attach_volume, VolumeId=one, InstanceId=instance, Device="/dev/sdl")
    link = Path(f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{one.replace('-', '')}")
    wait_for(link.exists)
    with open(link, "rb"):
        pass
    refused("VolumeInUse", lab.ec2.delete_volume, VolumeId=one)
    lab.ec2.detach_volume(VolumeId=one)  # no instance named
    assert not link.exists()
    refused("IncorrectState", lab.ec2.detach_volume, VolumeId=one)


def test_a_client_token_makes_one_volume(lab, volume):
    """However often the request is repeated."""
    token = str(uuid.uuid4())
    assert volume(ClientToken=token) == volume(ClientToken=token)
    refused("InvalidParameterCombination", lab.ec2.create_volume, AvailabilityZone=ZONE, Size=1, VolumeInitializationRate=200)


def test_s3_refuses_wrong_checksums_sizes_and_owners(lab, bucket):
    """Of a small object, a part, and a whole."""
    key = {"Bucket": bucket, "Key": "k"}
    wrong = base64.b64encode(bytes(8)).decode()
    refused("BadDigest", lab.s3.put_object, **key, Body=b"x", ChecksumCRC64NVME=wrong)
    refused("BadDigest", lab.s3.put_object, **key, Body=b"x", ContentMD5=base64.b64encode(bytes(16)).decode())
    refused("AccessDenied", lab.s3.put_object, **key, Body=b"x", ExpectedBucketOwner="999999999999")
    upload = {**key, "UploadId": lab.s3.create_multipart_upload(**key, ChecksumAlgorithm="CRC64NVME")["UploadId"]}
    refused("BadDigest", lab.s3.upload_part, **upload, PartNumber=1, Body=b"x", ChecksumCRC64NVME=wrong)
    part = {"PartNumber": 1, "ETag": lab.s3.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]}
    for announced, code in (({"ChecksumCRC64NVME": wrong}, "BadDigest"), ({"MpuObjectSize": 2}, "InvalidRequest")):
        refused(code, lab.s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": [part]}, **announced)
        refused("404", lab.s3.head_object, **key)
        upload["UploadId"] = lab.s3.create_multipart_upload(**key, ChecksumAlgorithm="CRC64NVME")["UploadId"]
        part["ETag"] = lab.s3.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]
    lab.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]}, MpuObjectSize=1)


def test_ebs_direct_reads_the_same_image(lab, seeds):
    """Blocks that hold data, page by page, with their checksums; a token of another block is refused."""
    image = (lab.directory / "snapshots" / f"{seeds['unknown']}.img").read_bytes()
    blocks, options = [], {}
    while True:
        page = lab.ebs.list_snapshot_blocks(SnapshotId=seeds["unknown"], MaxResults=100, **options)
        blocks += page["Blocks"]
        if not page.get("NextToken"):
            break
        options["NextToken"] = page["NextToken"]
    size = page["BlockSize"]
    assert size == 512 * 1024
    absent = set(range(len(image) // size)) - {block["BlockIndex"] for block in blocks}
    assert not any(image[n * size : (n + 1) * size].strip(b"\0") for n in absent)
    for block in blocks[:3]:
        reply = lab.ebs.get_snapshot_block(SnapshotId=seeds["unknown"], **block)
        data = reply["BlockData"].read()
        assert data == image[block["BlockIndex"] * size :][:size]
        assert reply["Checksum"] == base64.b64encode(hashlib.sha256(data).digest()).decode()
    mixed = {"BlockIndex": blocks[0]["BlockIndex"], "BlockToken": blocks[1]["BlockToken"]}
    refused("ValidationException", lab.ebs.get_snapshot_block, SnapshotId=seeds["unknown"], **mixed)


def test_a_snapshot_of_a_volume_holds_what_was_written(lab, volume):
    """CreateSnapshot, CreateVolume from it, and the bytes are there."""
    one = volume()
    image = lab.directory / "volumes" / f"{one}.img"
    with open(image, "r+b") as file:
        file.write(b"written")
    snapshot = lab.ec2.create_snapshot(VolumeId=one)["SnapshotId"]
    two = lab.ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=snapshot)["VolumeId"]
    assert (lab.directory / "volumes" / f"{two}.img").read_bytes()[:8] == b"written\0"
    wait_for(lambda: state(lab, two) == "available")
    lab.ec2.delete_volume(VolumeId=two)
    lab.ec2.delete_snapshot(SnapshotId=snapshot)


def test_two_labs_run_side_by_side_and_a_killed_one_is_cleared_away(lab, seeds):
    """Each has its own disks; `down` removes what a SIGKILL left."""
    directory = tempfile.mkdtemp(prefix="coldstore-lab.", dir=REPO / ".build")
    other = Lab(directory)
    mine = lab.attach(seeds["mbr"])
    try:
        theirs = other.attach(other.seed("mbr")["mbr"])
        assert theirs["device"] != mine["device"]
        os.kill(other.state["pid"], signal.SIGKILL)
        assert Path(theirs["device"] + "p1").exists()
    finally:
        subprocess.run([sys.executable, str(LAB), "--state", directory, "down"], check=True)
        lab.detach(mine["volume_id"])
    assert not Path(directory).exists()
    assert directory not in subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout

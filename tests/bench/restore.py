# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring and validating a tree, by the engine alone.

python restore.py make ROOT FILES CODEC  archive ROOT into files that the sink serves; prints the archive's key
python restore.py all ENDPOINT TARGET    restore all of it
python restore.py one ENDPOINT TARGET    restore one file from its far end
python restore.py validate ENDPOINT ROOT FILES    compare all of it with ROOT
"""

import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".build" / "tree"))

from ansible_collections.coldstore.ebs.plugins.module_utils.common.errors import Permanent
from ansible_collections.coldstore.ebs.plugins.module_utils.common.snapshot import Snapshot
from ansible_collections.coldstore.ebs.plugins.module_utils.engine import codecs
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import ours
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.objects import Store
from ansible_collections.coldstore.ebs.plugins.module_utils.engine.documents import manifest

SNAPSHOT = Snapshot("snap-2", "vol-2", "2017-01-01T00:00:00+00:00", 6)


class Files:
    """As much of an S3 client as archiving needs, into files of a directory."""

    def __init__(self, directory):
        self.directory = Path(directory)

    def path(self, key):
        return self.directory / key.replace("/", ",")

    def put_object(self, Bucket, Key, Body, **said):
        self.path(Key).write_bytes(Body if isinstance(Body, bytes) else Body.read())
        self.path("said," + Key).write_text(said["ChecksumCRC64NVME"])
        return {"ETag": "x"}

    def head_object(self, Bucket, Key, **_said):
        if not self.path(Key).exists():
            raise Permanent("missing", code="404")
        text = self.path("said," + Key).read_text()
        size = self.path(Key).stat().st_size
        return {"ContentLength": size, "ETag": "x", "ChecksumCRC64NVME": text, "LastModified": datetime.now(timezone.utc)}

    def get_object(self, Bucket, Key, **_said):
        raise Permanent("missing", code="404")

    def list_objects_v2(self, **_said):
        return {}

    list_multipart_uploads = list_objects_v2

    def delete_object(self, **_said):
        return {}

    def create_multipart_upload(self, **_said):
        return {"UploadId": "1"}

    def upload_part(self, Bucket, Key, Body, PartNumber, **_said):
        self.path(f"{Key}.{PartNumber:05}").write_bytes(Body.read())
        return {"ETag": "x"}

    def complete_multipart_upload(self, Bucket, Key, MultipartUpload, **said):
        with open(self.path(Key), "wb") as whole:
            for part in MultipartUpload["Parts"]:
                path = self.path(f"{Key}.{part['PartNumber']:05}")
                with open(path, "rb") as file:
                    shutil.copyfileobj(file, whole)
                path.unlink()
        self.path("said," + Key).write_text(said["ChecksumCRC64NVME"])


def make(root, files, codec):
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine import archive
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource

    settings = archive.Recipe(codecs.codec(codec), spool="/var/tmp")
    piece = archive.Section(None, TarSource(root, spool="/var/tmp"), 4 << 30)
    result = archive.archive_snapshot(Store(Files(files), "bench"), SNAPSHOT, {}, "tar", [piece], settings)
    print(result.manifest["archives"][0]["objects"][0]["key"])


def reader(endpoint):
    import boto3
    from botocore.config import Config

    config = Config(s3={"addressing_style": "path"}, max_pool_connections=64)
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b", config=config
    )


def validate(endpoint, root, files):
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine import validate as job
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import Found
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.sources.tar import TarSource

    client = Files(files)
    client.get_object = reader(endpoint).get_object
    sources = {None: lambda chunk: TarSource(root, chunk_size=chunk, spool="/var/tmp")}
    settings = job.against(job.Settings(spool="/var/tmp"), root, sources)
    found = Found("ours", ours.manifest_key("", SNAPSHOT), [], [])
    result = job.validate_snapshot(Store(client, "bench"), SNAPSHOT, found, "full", settings)
    if result["result"] != "equal":
        sys.exit(f"{result['difference_count']} differences: {result['differences'][:3]}")
    print(f"{result['members']} members, {result['bytes']} bytes compared")


def restore(endpoint, root, patterns):
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine import copy
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.archives import opened
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.bucket.layouts import described
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.selection import Selection
    from ansible_collections.coldstore.ebs.plugins.module_utils.engine.targets.directory import DirectoryTarget

    store = Store(reader(endpoint), "bench")
    found = described(manifest.find(store, ours.manifest_key("", SNAPSHOT))["archives"][0])
    archive = opened(store, found, 4, "/var/tmp")
    selection = Selection(patterns)
    renamed = None if selection.everything else copy.survey(archive, selection).renamed
    cuts = None if renamed is None else copy.stretches(archive, selection, renamed)
    target = DirectoryTarget(root, selection, renamed=renamed, cut=cuts is not None)
    copy.copy(archive, [target], 4, store.stop, cuts)
    target.finish()
    target.close()
    print(f"{target.members} members, {archive.fetched} bytes fetched, archive {found.size}")


if __name__ == "__main__":
    what, first, second = sys.argv[1:4]
    if what == "make":
        make(first, second, sys.argv[4])
    elif what == "validate":
        validate(first, second, sys.argv[4])
    else:
        restore(first, second, [] if what == "all" else ["d010/e099/f0109999"])

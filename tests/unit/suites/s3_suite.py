# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine counts on of S3, as AWS documents it. A test module gives fixtures `s3` (a client), `bucket` and
`account`, and inherits from S3Suite: the one in memory and the lab's are held to the same."""

import base64
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from awscrt import checksums
from botocore.exceptions import ClientError
from labels_of_aws import REFUSED_IN_TAGS, TAKEN_IN_TAGS

MIB = 1 << 20


def refused(code, call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code


def crc(data):
    return base64.b64encode(checksums.crc64nvme(data).to_bytes(8, "big")).decode()


class S3Suite:
    def put(self, s3, bucket, key="k", body=b"body", **arguments):
        return s3.put_object(Bucket=bucket, Key=key, Body=body, ChecksumCRC64NVME=crc(body), **arguments)

    def upload(self, s3, bucket, parts, key="k", **arguments):
        """An upload with these parts, and what its completion needs."""
        begun = s3.create_multipart_upload(
            Bucket=bucket, Key=key, ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT", **arguments
        )
        names = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}
        listed = []
        for number, body in enumerate(parts, 1):
            sent = s3.upload_part(**names, PartNumber=number, Body=body, ContentLength=len(body), ChecksumCRC64NVME=crc(body))
            listed.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC64NVME": crc(body)})
        return names, {
            "MultipartUpload": {"Parts": listed},
            "ChecksumCRC64NVME": crc(b"".join(parts)),
            "ChecksumType": "FULL_OBJECT",
        }

    def test_an_object_is_what_was_put(self, s3, bucket):
        """Body, ranges, size, checksum, metadata, tags, class; ages are by the server's clock."""
        self.put(s3, bucket, body=b"0123456789", Metadata={"a": "b"}, Tagging="x=y&z=", StorageClass="STANDARD_IA")
        found = s3.get_object(Bucket=bucket, Key="k")
        assert found["Body"].read() == b"0123456789"
        assert found["LastModified"]
        assert found["ResponseMetadata"]["HTTPHeaders"]["date"]
        assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=2-4")["Body"].read() == b"234"
        assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=8-99")["Body"].read() == b"89"
        head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert (head["ContentLength"], head["ETag"], head["ChecksumCRC64NVME"]) == (10, found["ETag"], crc(b"0123456789"))
        assert (head["Metadata"], head["StorageClass"]) == ({"a": "b"}, "STANDARD_IA")
        tags = s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
        assert sorted(tags, key=lambda tag: tag["Key"]) == [{"Key": "x", "Value": "y"}, {"Key": "z", "Value": ""}]

    def test_what_is_not_there_is_said_so(self, s3, bucket):
        """HEAD has no body, so its code is the status."""
        refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="k")
        refused("404", s3.head_object, Bucket=bucket, Key="k")
        refused("404", s3.head_bucket, Bucket=f"{bucket}-other")
        refused("NoSuchBucket", s3.get_object, Bucket=f"{bucket}-other", Key="k")
        refused("NoSuchUpload", s3.list_parts, Bucket=bucket, Key="k", UploadId="unknown")
        refused("NoSuchUpload", s3.abort_multipart_upload, Bucket=bucket, Key="k", UploadId="unknown")
        refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=bucket)
        self.put(s3, bucket)
        refused("InvalidRange", s3.get_object, Bucket=bucket, Key="k", Range="bytes=4-9")
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}, {"Key": "never"}], "Quiet": True})
        refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="k")

    def test_another_accounts_bucket_is_not_ours(self, s3, bucket, account):
        """Whatever is done with it."""
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
        refused("403", s3.head_bucket, Bucket=bucket, ExpectedBucketOwner="999999999999")
        refused("AccessDenied", s3.put_object, Bucket=bucket, Key="k", Body=b"", ExpectedBucketOwner="999999999999")

    def test_conditions_hold(self, s3, bucket):
        """If-None-Match: * and If-Match, of what is there and of what is not."""
        etag = self.put(s3, bucket, IfNoneMatch="*")["ETag"]
        refused("PreconditionFailed", self.put, s3=s3, bucket=bucket, IfNoneMatch="*")
        other = self.put(s3, bucket, body=b"other", IfMatch=etag)["ETag"]
        assert other != etag
        refused("PreconditionFailed", self.put, s3=s3, bucket=bucket, IfMatch=etag)
        refused("NoSuchKey", self.put, s3=s3, bucket=bucket, key="none", IfMatch=etag)
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"other"

    def test_of_many_at_once_one_wins(self, s3, bucket):
        """A condition and its write are one."""

        def one(number):
            try:
                return self.put(s3, bucket, body=b"%d" % number, IfNoneMatch="*")
            except ClientError:
                return None

        with ThreadPoolExecutor(8) as executor:
            assert len([won for won in executor.map(one, range(8)) if won]) == 1

    def test_a_body_that_is_not_the_one_that_was_meant_is_refused(self, s3, bucket):
        """Of objects and parts."""
        refused("BadDigest", s3.put_object, Bucket=bucket, Key="k", Body=b"one", ChecksumCRC64NVME=crc(b"two"))
        refused("404", s3.head_object, Bucket=bucket, Key="k")
        names, _rest = self.upload(s3, bucket, [])
        refused("BadDigest", s3.upload_part, **names, PartNumber=1, Body=b"one", ContentLength=3, ChecksumCRC64NVME=crc(b"two"))

    def test_parts_become_an_object(self, s3, bucket):
        """With the upload's metadata and tags, and the checksum of the whole; the upload is gone then."""
        parts = [b"a" * 5 * MIB, b"b"]
        names, rest = self.upload(s3, bucket, parts, Metadata={"m": "1"}, Tagging="t=1")
        assert [item["UploadId"] for item in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [names["UploadId"]]
        assert [(p["PartNumber"], p["Size"]) for p in s3.list_parts(**names)["Parts"]] == [(1, 5 * MIB), (2, 1)]
        s3.complete_multipart_upload(**names, **rest, MpuObjectSize=5 * MIB + 1, IfNoneMatch="*")
        head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert (head["ContentLength"], head["Metadata"], head["ChecksumCRC64NVME"]) == (
            5 * MIB + 1,
            {"m": "1"},
            rest["ChecksumCRC64NVME"],
        )
        assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "t", "Value": "1"}]
        assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
        refused("NoSuchUpload", s3.upload_part, **names, PartNumber=3, Body=b"", ContentLength=0)

    def test_an_upload_is_completed_as_announced_or_not_at_all(self, s3, bucket):
        """Parts, size and checksum of the whole; nothing is under the key then."""
        names, rest = self.upload(s3, bucket, [b"a" * 5 * MIB, b"b"])
        refused("BadDigest", s3.complete_multipart_upload, **{**names, **rest, "ChecksumCRC64NVME": crc(b"")})
        refused("404", s3.head_object, Bucket=bucket, Key="k")
        names, rest = self.upload(s3, bucket, [b"a" * 5 * MIB, b"b"])
        refused("InvalidRequest", s3.complete_multipart_upload, **names, **rest, MpuObjectSize=7)
        refused("404", s3.head_object, Bucket=bucket, Key="k")

    def test_completion_has_a_condition_too(self, s3, bucket):
        """What is there stays."""
        self.put(s3, bucket)
        names, rest = self.upload(s3, bucket, [b"part"])
        refused("PreconditionFailed", s3.complete_multipart_upload, **names, **rest, IfNoneMatch="*")
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"body"

    def test_small_parts_are_the_last_ones_only(self, s3, bucket):
        """5 MiB at least for all others."""
        names, rest = self.upload(s3, bucket, [b"a", b"b"])
        refused("EntityTooSmall", s3.complete_multipart_upload, **names, **rest)

    def test_listings_are_sorted_and_go_on_where_they_ended(self, s3, bucket):
        """By the prefix asked for."""
        for number in (2, 0, 1):
            self.put(s3, bucket, key=f"p/{number}")
        self.put(s3, bucket, key="q")
        found, token = [], {}
        while True:
            reply = s3.list_objects_v2(Bucket=bucket, Prefix="p/", **token)
            found += [(item["Key"], item["Size"], item["StorageClass"]) for item in reply["Contents"]]
            if not reply["IsTruncated"]:
                break
            token = {"ContinuationToken": reply["NextContinuationToken"]}
        assert found == [(f"p/{number}", 4, "STANDARD") for number in range(3)]

    def test_what_sleeps_cannot_be_read_until_it_was_thawed(self, s3, bucket):
        """And is not thawed twice at a time; deep archive knows no Expedited."""
        self.put(s3, bucket, StorageClass="DEEP_ARCHIVE")
        request = {"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}
        refused("InvalidObjectState", s3.get_object, Bucket=bucket, Key="k")
        quick = {"Days": 1, "GlacierJobParameters": {"Tier": "Expedited"}}
        refused("InvalidArgument", s3.restore_object, Bucket=bucket, Key="k", RestoreRequest=quick)
        s3.restore_object(Bucket=bucket, Key="k", RestoreRequest=request)
        refused("RestoreAlreadyInProgress", s3.restore_object, Bucket=bucket, Key="k", RestoreRequest=request)
        assert 'ongoing-request="true"' in s3.head_object(Bucket=bucket, Key="k")["Restore"]
        refused("InvalidObjectState", s3.get_object, Bucket=bucket, Key="k")
        while 'ongoing-request="false"' not in s3.head_object(Bucket=bucket, Key="k")["Restore"]:
            time.sleep(0.2)
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"body"

    @pytest.mark.parametrize("tagging", TAKEN_IN_TAGS)
    def test_tags_that_aws_takes(self, s3, bucket, tagging):
        """Of objects and of uploads."""
        self.put(s3, bucket, Tagging=tagging)
        names, rest = self.upload(s3, bucket, [b"part"], key="u", Tagging=tagging)
        s3.complete_multipart_upload(**names, **rest)
        found = [s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] for key in ("k", "u")]
        assert found[0] == found[1]

    @pytest.mark.parametrize(("tagging", "code"), REFUSED_IN_TAGS)
    def test_tags_that_aws_refuses(self, s3, bucket, tagging, code):
        """Of objects and of uploads."""
        refused(code, s3.put_object, Bucket=bucket, Key="k", Body=b"", Tagging=tagging)
        refused(code, s3.create_multipart_upload, Bucket=bucket, Key="k", Tagging=tagging)
        assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []

    def test_metadata_has_two_kilobytes(self, s3, bucket):
        """Of names and values together."""
        self.put(s3, bucket, Metadata={"a": "x" * 1999})
        refused("MetadataTooLarge", self.put, s3=s3, bucket=bucket, Metadata={"a": "x" * 2048})
        refused("MetadataTooLarge", s3.create_multipart_upload, Bucket=bucket, Key="u", Metadata={"a": "x" * 2048})

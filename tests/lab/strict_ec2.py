# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2 with real disks, and as strict as the real one: zones, device names, client tokens, and states that take time."""

import io
import json
import re
import threading
import time
import urllib.parse
from pathlib import Path

import disks
import ebs_direct
from moto.ec2.models import ec2_backends
from moto.ec2.models.elastic_block_store import Volume, VolumeAttachment
from moto.iam.models import get_account_id_from

CREATING = 0.3  # seconds
ATTACHING = 0.3
# What moto does not know: there is none of it here.
NOTHING = {
    "DescribeFastSnapshotRestores": "fastSnapshotRestoreSet",
    "DescribeLockedSnapshots": "snapshotSet",
    "ListSnapshotsInRecycleBin": "snapshotSet",
}


class Disks:
    """The images and devices of one lab; they live in one directory."""

    def __init__(self, directory, account, region):
        self.directory = Path(directory)
        self.backend = ec2_backends[account][region]
        self.devices = {}
        self.lock = threading.RLock()

    def snapshot_image(self, snapshot_id):
        return self.directory / "snapshots" / f"{snapshot_id}.img"

    def volume_image(self, volume_id):
        return self.directory / "volumes" / f"{volume_id}.img"

    def create(self, volume):
        """The image of a volume: a clone of its snapshot's, grown to the volume's size."""
        image = self.volume_image(volume.id)
        if volume.snapshot_id and self.snapshot_image(volume.snapshot_id).exists():
            disks.clone(self.snapshot_image(volume.snapshot_id), image)
        with open(image, "ab") as file:
            file.truncate(volume.size << 30)
        volume.lab_ready = time.monotonic() + CREATING

    def attach(self, volume):
        volume.attachment.lab_done = time.monotonic() + ATTACHING
        timer = threading.Timer(ATTACHING / 2, self._appear, [volume.id])
        timer.daemon = True
        timer.start()

    def _appear(self, volume_id):
        with self.lock:
            if volume_id not in self.devices and volume_id in self.backend.volumes:
                self.devices[volume_id] = disks.attach(self.volume_image(volume_id), volume_id)

    def detach(self, volume_id):
        """False while the device is in use: EC2 calls the attachment busy."""
        with self.lock:
            device = self.devices.get(volume_id)
            if device and not disks.detach(device, volume_id):
                return False
            self.devices.pop(volume_id, None)
            return True

    def delete(self, volume_id):
        self.volume_image(volume_id).unlink(missing_ok=True)

    def save(self, snapshot):
        disks.clone(self.volume_image(snapshot.volume.id), self.snapshot_image(snapshot.id))

    def close(self):
        for volume_id in list(self.devices):
            self.detach(volume_id)


def _volume_state(volume):
    if volume.attachment:
        return "in-use"
    return "creating" if time.monotonic() < getattr(volume, "lab_ready", 0) else "available"


def _attachment_state(attachment):
    said = attachment.__dict__.get("lab_state", "attached")
    return "attaching" if time.monotonic() < getattr(attachment, "lab_done", 0) else said


Volume.status = property(_volume_state)
VolumeAttachment.status = property(_attachment_state, lambda self, value: self.__dict__.update(lab_state=value))


class StrictEC2:
    """WSGI middleware around moto for requests signed for ec2."""

    def __init__(self, app, lab_disks):
        self.app = app
        self.disks = lab_disks
        self.backend = lab_disks.backend
        self.tokens = {}
        self.full = {}  # snapshot -> bytes of its blocks
        self.places = 27  # volumes that an instance takes
        self.lock = threading.RLock()

    def take_at_most(self, places):
        """An instance takes no more volumes than these."""
        self.places = places

    def __call__(self, environ, start_response):
        data = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(data)
        asked = dict(urllib.parse.parse_qsl(data.decode(), keep_blank_values=True))
        wrong = _wrong_tags(asked)
        if wrong:
            return refuse(start_response, "InvalidParameterValue", wrong)
        account = get_account_id_from(environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition("/")[0])
        if asked.get("Action") == "DescribeSnapshots":
            return self._describe_snapshots(environ, start_response, asked, account)
        if asked.get("Action") in NOTHING:
            return _nothing(start_response, asked["Action"])
        handler = getattr(self, "_" + asked.get("Action", ""), None)
        if handler is None or account != self.backend.account_id:  # other accounts have no disks here
            return self.app(environ, start_response)
        with self.lock:
            return handler(environ, start_response, asked)

    def _forward(self, environ, start_response, then):
        kept = {}
        body = list(self.app(environ, lambda status, headers, _info=None: kept.update(status=status, headers=headers)))
        if kept["status"].startswith("200"):
            then(b"".join(body).decode())
        start_response(kept["status"], kept["headers"])
        return body

    def _CreateVolume(self, environ, start_response, asked):
        snapshot = self.backend.snapshots.get(asked.get("SnapshotId", ""))
        if asked.get("VolumeInitializationRate") and not asked.get("SnapshotId"):
            return refuse(start_response, "InvalidParameterCombination", "VolumeInitializationRate needs a snapshot")
        if snapshot and asked.get("Size") and int(asked["Size"]) < snapshot.volume.size:
            return refuse(start_response, "InvalidParameterValue", "The size is smaller than the snapshot's")
        if snapshot and (snapshot.status != "completed" or snapshot.storage_tier == "archive"):
            return refuse(start_response, "IncorrectState", f"Snapshot {snapshot.id} is not readable")
        token = asked.get("ClientToken")
        if token in self.tokens:
            kept, body = self.tokens[token]
            start_response(*kept)
            return body
        kept = []

        def remember(status, headers, _info=None):
            kept.extend([status, headers])
            start_response(status, headers)

        def then(reply):
            volume = self.backend.volumes[_between(reply, "volumeId")]
            self.disks.create(volume)
            if getattr(snapshot, "lab_key_denied", False):
                volume.lab_ready, volume.lab_looks = float("inf"), 2

        body = self._forward(environ, remember, then)
        if token and kept[0].startswith("200"):
            self.tokens[token] = (kept, body)
        return body

    def _DescribeVolumes(self, environ, start_response, asked):
        """A volume whose key may not be used can be seen for a moment; then there is none, and nothing says why."""
        for volume_id in [value for name, value in asked.items() if name.startswith("VolumeId.")]:
            volume = self.backend.volumes.get(volume_id)
            if volume is not None and hasattr(volume, "lab_looks"):
                volume.lab_looks -= 1
                if volume.lab_looks < 0:
                    del self.backend.volumes[volume_id]
                    self.disks.delete(volume_id)
        return self.app(environ, start_response)

    def _AttachVolume(self, environ, start_response, asked):
        volume = self.backend.volumes.get(asked["VolumeId"])
        instance = self.backend.get_instance(asked["InstanceId"])
        if volume is None:
            return refuse(start_response, "InvalidVolume.NotFound", f"The volume '{asked['VolumeId']}' does not exist.")
        if volume.attachment:
            return refuse(start_response, "VolumeInUse", f"{volume.id} is already attached to an instance")
        if volume.status != "available":
            return refuse(start_response, "IncorrectState", f"{volume.id} is not 'available'.")
        there = [each.attachment for each in self.backend.volumes.values() if each.attachment]
        if sum(each.instance.id == instance.id for each in there) >= self.places:
            return refuse(start_response, "AttachmentLimitExceeded", "The instance has reached its limit of attached volumes")
        if volume.zone.name != instance._placement.zone:
            return refuse(start_response, "InvalidVolume.ZoneMismatch", "The volume is not in the instance's zone")
        if asked["Device"] in instance.block_device_mapping:
            text = f"Invalid value '{asked['Device']}' for unixDevice. Attachment point {asked['Device']} is already in use"
            return refuse(start_response, "InvalidParameterValue", text)
        return self._forward(environ, start_response, lambda _reply: self.disks.attach(volume))

    def _DetachVolume(self, environ, start_response, asked):
        volume = self.backend.volumes.get(asked["VolumeId"])
        if volume is None:
            return refuse(start_response, "InvalidVolume.NotFound", f"The volume '{asked['VolumeId']}' does not exist.")
        if not volume.attachment:
            return refuse(start_response, "IncorrectState", f"Volume '{volume.id}' is in the 'available' state.")
        if not self.disks.detach(volume.id):
            volume.attachment.status = "busy"
            return refuse(start_response, "IncorrectState", f"Volume '{volume.id}' is busy on the instance.")
        asked.setdefault("InstanceId", volume.attachment.instance.id)
        asked.setdefault("Device", volume.attachment.device)
        return self.app(_asking(environ, asked), start_response)

    def _describe_snapshots(self, environ, start_response, asked, account):
        """moto ignores Owner; it knows the filter."""
        if asked.pop("Owner.1", None) == "self":
            number = 1 + sum(key.startswith("Filter.") and key.endswith(".Name") for key in asked)
            asked.update({f"Filter.{number}.Name": "owner-id", f"Filter.{number}.Value.1": account})
        kept = {}
        body = b"".join(
            self.app(_asking(environ, asked), lambda status, headers, _info=None: kept.update(status=status, headers=headers))
        )
        body = re.sub(rb"<snapshotId>(snap-[0-9a-f]+)</snapshotId>", self._with_full_size, body)
        headers = [(name, value) for name, value in kept["headers"] if name.lower() != "content-length"]
        start_response(kept["status"], [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _with_full_size(self, found):
        """moto does not know what a snapshot holds."""
        snapshot_id = found[1].decode()
        image = self.disks.snapshot_image(snapshot_id)
        if snapshot_id not in self.full and image.exists():
            self.full[snapshot_id] = len(ebs_direct.data_blocks(image)) * ebs_direct.BLOCK
        size = self.full.get(snapshot_id)
        return found[0] if size is None else found[0] + b"<fullSnapshotSizeInBytes>%d</fullSnapshotSizeInBytes>" % size

    def _DeleteVolume(self, environ, start_response, asked):
        return self._forward(environ, start_response, lambda _reply: self.disks.delete(asked["VolumeId"]))

    def _CreateSnapshot(self, environ, start_response, asked):
        def then(reply):
            self.disks.save(self.backend.snapshots[_between(reply, "snapshotId")])

        return self._forward(environ, start_response, then)

    def _ModifyInstanceAttribute(self, environ, start_response, asked):
        """moto knows the instance's mappings by name, so the request only needs to name an existing one."""
        name = asked.get("BlockDeviceMapping.1.DeviceName")
        instance = self.backend.get_instance(asked["InstanceId"])
        if name and name not in instance.block_device_mapping:
            return refuse(start_response, "InvalidInstanceAttributeValue", f"No device is currently mapped at {name}")
        if name:
            wanted = asked.get("BlockDeviceMapping.1.Ebs.DeleteOnTermination") == "true"
            instance.block_device_mapping[name].delete_on_termination = wanted
            body = b'<?xml version="1.0"?><ModifyInstanceAttributeResponse><return>true</return></ModifyInstanceAttributeResponse>'
            start_response("200 OK", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
            return [body]
        return self.app(environ, start_response)


def _wrong_tags(asked):
    """What EC2 says of tags that it does not take; characters that no reply in XML could hold are among them."""
    for name, value in asked.items():
        place = re.fullmatch(r"(?:TagSpecification\.\d+\.)?Tag\.\d+\.(Key|Value)", name)
        longest = 128 if place and place[1] == "Key" else 256
        if place and len(value.encode("utf-16-le")) // 2 > longest:
            return f"Tag {place[1].lower()} exceeds the maximum length of {longest} characters"
        if place and re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", value):
            return f"Tag {place[1].lower()} holds characters that are not valid"
        if place and place[1] == "Key" and (not value or value.lower().startswith("aws:")):
            return "Tag keys must not be empty, and those that begin with aws: are reserved"
    return None


def _asking(environ, asked):
    data = urllib.parse.urlencode(asked).encode()
    return dict(environ, **{"wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data))})


def metadata(environ, start_response, instance, region, account, keys):
    """IMDSv2: a token by PUT, then the identity document and the role's credentials."""
    path = environ["PATH_INFO"]
    if path == "/latest/api/token" and environ["REQUEST_METHOD"] == "PUT":
        return _plain(start_response, "200 OK", "lab-token")
    if environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN") != "lab-token":
        return _plain(start_response, "401 Unauthorized", "")
    if path == "/latest/dynamic/instance-identity/document":
        document = {
            "instanceId": instance.id,
            "availabilityZone": instance._placement.zone,
            "region": region,
            "accountId": account,
        }
        return _plain(start_response, "200 OK", json.dumps(document))
    if path.rstrip("/") == "/latest/meta-data/iam/security-credentials":
        return _plain(start_response, "200 OK", "lab-role")
    if path == "/latest/meta-data/iam/security-credentials/lab-role":
        document = {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": keys[0],
            "SecretAccessKey": keys[1],
            "Token": "lab-session",
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6 * 3600)),
        }
        return _plain(start_response, "200 OK", json.dumps(document))
    return _plain(start_response, "404 Not Found", "")


def refuse(start_response, code, message):
    body = (
        f'<?xml version="1.0"?><Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>'
        "<RequestID>lab-00000000</RequestID></Response>"
    ).encode()
    start_response("400 Bad Request", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
    return [body]


def _nothing(start_response, action):
    body = f'<?xml version="1.0"?><{action}Response><{NOTHING[action]}/></{action}Response>'.encode()
    start_response("200 OK", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
    return [body]


def _plain(start_response, status, text):
    body = text.encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _between(text, name):
    return text.partition(f"<{name}>")[2].partition(f"</{name}>")[0]

# SPDX-License-Identifier: GPL-3.0-or-later
"""One process: moto's server, made strict, with real disks, metadata, EBS direct APIs and faults, on loopback."""

import io
import json
import os
import signal
import sys
import threading
import urllib.parse
from datetime import datetime
from pathlib import Path

import boto3
import disks
import ebs_direct
from faults import Faults
from iam import Policies
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from strict_ec2 import Disks, StrictEC2, metadata
from strict_s3 import StrictS3
from werkzeug.serving import WSGIRequestHandler, make_server

ACCOUNT = "123456789012"
REGION = "eu-central-1"
ZONE = "eu-central-1a"
KEYS = ("AKIALAB0000000000000", "lab-secret-key")
AMI = "ami-12c6146b"  # one of moto's own


class Quiet(WSGIRequestHandler):
    """Errors only, and a broken connection for an injected one."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_args):
        pass


class Lab:
    """Dispatches by the service a request was signed for."""

    def __init__(self, directory):
        self.directory = Path(directory)
        for name in ("snapshots", "volumes"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        moto = DomainDispatcherApplication(create_backend_app)
        self.disks = Disks(directory, ACCOUNT, REGION)
        self.s3 = StrictS3(moto, ACCOUNT, REGION)
        self.ec2 = StrictEC2(moto, self.disks)
        self.moto = moto
        self.faults = Faults(self.serve)
        self.calls = []
        self.policies = Policies()
        self.instance = None
        self.server = None
        self.told = {
            "snapshot": self._add_snapshot,
            "damage": lambda asked: self._damage(**asked),
            "sleep": lambda asked: self.s3.sleep(**asked),
            "thawing": self.s3.take_for_thaws,
            "state": self._set_state,
            "places": self.ec2.take_at_most,
        }

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"].startswith("/_lab/"):
            return self._control(environ, start_response)
        return self.faults(environ, start_response)

    def serve(self, environ, start_response):
        if environ["PATH_INFO"].startswith("/latest/"):
            return metadata(environ, start_response, self.instance, REGION, ACCOUNT, KEYS)
        scope = environ.get("HTTP_AUTHORIZATION", "").split("/")
        service = scope[3] if len(scope) > 4 else ""
        self.calls.append(f"{service} {_operation(environ, service)}")
        refused = self.policies.refuses(environ, start_response, service)
        if refused is not None:
            return refused
        if service == "s3":
            return self.s3(environ, start_response)
        if service == "ec2":
            return self.ec2(environ, start_response)
        if service == "ebs":
            return ebs_direct.handle(environ, start_response, self.disks)
        return self.moto(environ, start_response)

    def _control(self, environ, start_response):
        what = environ["PATH_INFO"].rpartition("/")[2]
        asked = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"null")
        reply = {}
        if what == "faults":
            if asked is not None:
                self.faults.set(asked)
            reply = {"hits": self.faults.hits}
        elif what == "calls":
            reply, self.calls = {"calls": self.calls}, []
        elif what == "policy":
            if "actions" in asked:
                self.policies.set(asked["key"], asked["actions"])
            reply = {"used": sorted(self.policies.used[asked["key"]])}
        elif what in self.told:
            self.told[what](asked)
        elif what == "status":
            reply = {
                "instance": self.instance.id if self.instance else None,
                "snapshots": sorted(path.stem for path in (self.directory / "snapshots").iterdir()),
                "attached": dict(self.disks.devices),
                "volumes": sorted(v for v in self.disks.backend.volumes if self.disks.volume_image(v).exists()),
            }
        elif what == "down":
            threading.Thread(target=self.server.shutdown, daemon=True).start()
        body = json.dumps(reply).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _add_snapshot(self, asked):
        """A snapshot with the ids, time and tags asked for; its image is moved into the lab."""
        backend = self.disks.backend
        volume = backend.create_volume(asked["size"], ZONE)
        snapshot = backend.create_snapshot(volume.id, asked["description"], owner_id=asked.get("owner"))
        del backend.snapshots[snapshot.id], backend.volumes[volume.id]
        volume.id, snapshot.id = asked["volume_id"], asked["snapshot_id"]
        snapshot.start_time = datetime.fromisoformat(asked["start_time"])
        backend.snapshots[snapshot.id] = snapshot
        backend.create_tags([snapshot.id], asked["tags"])
        if asked.get("image"):
            os.replace(asked["image"], self.disks.snapshot_image(snapshot.id))
            with open(self.disks.snapshot_image(snapshot.id), "ab") as file:
                file.truncate(asked["size"] << 30)

    def _set_state(self, asked):
        self.disks.backend.snapshots[asked["snapshot_id"]].__dict__.update(asked["set"])

    def _damage(self, bucket, key, offset):
        """Flip one bit of a stored object behind S3's back: a negative offset counts from the end."""
        from moto.s3.models import s3_backends

        stored = s3_backends[ACCOUNT]["aws"].get_object(bucket, key)
        data = bytearray(stored.value)
        data[offset] ^= 1
        stored._value_buffer = io.BytesIO(bytes(data))


def _operation(environ, service):
    """What a request asks for: the query APIs say it in the body, S3 by method and path."""
    if service == "s3":
        query = environ.get("QUERY_STRING", "")
        return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{'?' + query if query else ''}"
    if service not in ("ec2", "sts"):
        return environ["PATH_INFO"]
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return dict(urllib.parse.parse_qsl(body.decode())).get("Action", "")


def serve(directory, port):
    lab = Lab(directory)
    lab.server = make_server("127.0.0.1", port, lab, threaded=True, request_handler=Quiet)
    endpoint = f"http://127.0.0.1:{lab.server.server_port}"
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_args: threading.Thread(target=lab.server.shutdown, daemon=True).start())
    thread = threading.Thread(target=lab.server.serve_forever, daemon=True)
    thread.start()
    account = {"aws_access_key_id": KEYS[0], "aws_secret_access_key": KEYS[1], "region_name": REGION, "endpoint_url": endpoint}
    ec2 = boto3.client("ec2", **account)
    made = ec2.run_instances(ImageId=AMI, MinCount=1, MaxCount=1, Placement={"AvailabilityZone": ZONE})
    lab.instance = lab.disks.backend.get_instance(made["Instances"][0]["InstanceId"])
    state = {
        "endpoint": endpoint,
        "pid": os.getpid(),
        "instance_id": lab.instance.id,
        "region": REGION,
        "account": ACCOUNT,
        "access_key": KEYS[0],
        "secret_key": KEYS[1],
    }
    temporary = Path(directory) / "lab.json.new"
    temporary.write_text(json.dumps(state))
    temporary.rename(Path(directory) / "lab.json")
    thread.join()
    lab.disks.close()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
    disks.clear(sys.argv[1])

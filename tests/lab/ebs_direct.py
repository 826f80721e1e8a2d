# SPDX-License-Identifier: GPL-3.0-or-later
"""The reading half of the EBS direct APIs, over the images of the lab's snapshots.

512 KiB blocks; only blocks that hold data are listed; pages, tokens and checksums as the real service gives them.
"""

import base64
import hashlib
import json
import os
import re
import urllib.parse

BLOCK = 512 * 1024
_PAGE = 1000


def handle(environ, start_response, lab_disks):
    path = environ["PATH_INFO"]
    query = dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", "")))
    match = re.fullmatch(r"/snapshots/(snap-[0-9a-f]+)/(blocks|changedblocks)(?:/(\d+))?", path)
    if not match or environ["REQUEST_METHOD"] != "GET":
        return _refuse(start_response, "404 Not Found", "ResourceNotFoundException", "no such operation in the lab")
    snapshot_id, what, index = match.groups()
    snapshot = lab_disks.backend.snapshots.get(snapshot_id)
    image = lab_disks.snapshot_image(snapshot_id)
    if snapshot is None or not image.exists():
        return _refuse(start_response, "404 Not Found", "ResourceNotFoundException", f"{snapshot_id} does not exist")
    if index is not None:
        return _get(start_response, image, snapshot_id, int(index), query.get("blockToken"))
    if what == "changedblocks":
        first = lab_disks.snapshot_image(query["firstSnapshotId"]) if "firstSnapshotId" in query else None
        return _list_changed(start_response, snapshot, image, first, query)
    blocks = [{"BlockIndex": n, "BlockToken": _token(snapshot_id, n)} for n in data_blocks(image)]
    return _page(start_response, snapshot, "Blocks", blocks, query)


def data_blocks(image):
    """Indexes of the blocks in which the image has data."""
    found = []
    with open(image, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        at = 0
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            found.extend(range(max(at // BLOCK, found[-1] + 1 if found else 0), -(-hole // BLOCK)))
            at = hole
    return found


def _get(start_response, image, snapshot_id, index, token):
    if token != _token(snapshot_id, index):
        return _refuse(start_response, "400 Bad Request", "ValidationException", "the block token is not this block's")
    data = _read(image, index)
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(len(data))),
        ("x-amz-Data-Length", str(len(data))),
        ("x-amz-Checksum", base64.b64encode(hashlib.sha256(data).digest()).decode()),
        ("x-amz-Checksum-Algorithm", "SHA256"),
    ]
    start_response("200 OK", headers)
    return [data]


def _list_changed(start_response, snapshot, image, first, query):
    old = set(data_blocks(first)) if first else set()
    changed = []
    for n in sorted(old | set(data_blocks(image))):
        before = _read(first, n) if first and n in old else None
        after = _read(image, n)
        if before == after:
            continue
        entry = {"BlockIndex": n, "SecondBlockToken": _token(snapshot.id, n)}
        if before is not None:
            entry["FirstBlockToken"] = _token(query["firstSnapshotId"], n)
        changed.append(entry)
    return _page(start_response, snapshot, "ChangedBlocks", changed, query)


def _page(start_response, snapshot, name, blocks, query):
    start = int(query.get("startingBlockIndex", 0))
    begin = int(query["pageToken"]) if "pageToken" in query else 0
    size = int(query.get("maxResults", _PAGE))
    blocks = [block for block in blocks if block["BlockIndex"] >= start]
    reply = {name: blocks[begin : begin + size], "VolumeSize": snapshot.volume.size, "BlockSize": BLOCK, "ExpiryTime": 4102444800}
    if begin + size < len(blocks):
        reply["NextToken"] = str(begin + size)
    body = json.dumps(reply).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _read(image, index):
    with open(image, "rb") as file:
        file.seek(index * BLOCK)
        return file.read(BLOCK).ljust(BLOCK, b"\0")


def _token(snapshot_id, index):
    return base64.b64encode(hashlib.sha256(f"{snapshot_id}/{index}".encode()).digest()).decode()


def _refuse(start_response, status, code, message):
    body = json.dumps({"Message": message}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("x-amzn-ErrorType", code)]
    start_response(status, headers)
    return [body]

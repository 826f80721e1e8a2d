# SPDX-License-Identifier: GPL-3.0-or-later
"""6. Nothing secret reaches argv, logs, results or the bucket. (There is no GPG yet, so no index to encrypt.
All modules, at -vvvv: integration/test_examples.py.)"""

import glob


def test_invariant_6_the_secret_key_is_nowhere_to_be_read(lab, bucket, seeds):
    """Passed as an argument, as module_defaults would: not in any argv while it works, nor in the result or the bucket."""
    secret = lab.state["secret_key"]
    given = {"access_key": lab.state["access_key"], "secret_key": secret}
    volume = lab.attach(seeds["empty"])
    try:
        lab.call("faults", [{"method": "PUT", "path": "manifest.json", "action": "delay", "seconds": 1.0, "times": 1}])
        process = lab.start_module(
            "snapshot_archive_s3", bucket=bucket, snapshot_id=seeds["empty"], volume_id=volume["volume_id"], **given
        )
        while process.poll() is None and not lab.call("faults")["hits"]:
            pass
        lines = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as file:
                    lines.append(file.read())
            except OSError:
                continue
        output, errors = process.communicate(timeout=60)
    finally:
        lab.call("faults", [])
        lab.detach(volume["volume_id"])
    assert process.returncode == 0, output
    assert not [line for line in lines if secret.encode() in line]
    assert secret not in output + errors
    for key in lab.keys(bucket):
        assert secret.encode() not in lab.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's commands.

python tests/lab --state DIR up [--port N]     start it, and print what clients need
python tests/lab --state DIR seed [NAME ...]   create the snapshots of seed.py in it, all or some
python tests/lab --state DIR bill FILE         write the bill AWS would have sent for its snapshots last month
python tests/lab --state DIR env               print the environment in which this lab is AWS
python tests/lab --state DIR status
python tests/lab --state DIR down              stop it, leave nothing attached, and remove DIR
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent


def call(state, what, data=None):
    """Ask the running lab something."""
    url = f"{state['endpoint']}/_lab/{what}"
    body = None if data is None else json.dumps(data).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method="POST"), timeout=60) as reply:
        return json.load(reply)


def load(directory):
    path = Path(directory) / "lab.json"
    if not path.exists():
        sys.exit(f"no lab is up in {directory}")
    return json.loads(path.read_text())


def environment(state):
    """The environment in which clients take this lab for AWS. As on a plain instance, only its metadata give the region."""
    return {
        "AWS_ENDPOINT_URL": state["endpoint"],
        "AWS_URL": state["endpoint"],
        "AWS_ACCESS_KEY_ID": state["access_key"],
        "AWS_SECRET_ACCESS_KEY": state["secret_key"],
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": state["endpoint"],
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


def up(directory, port=0):
    directory = Path(directory).resolve()
    if (directory / "lab.json").exists():
        sys.exit(f"a lab is already up in {directory}; stop it with `down`")
    directory.mkdir(parents=True, exist_ok=True)
    log = open(directory / "server.log", "ab")
    command = [sys.executable, str(HERE / "server.py"), str(directory), str(port)]
    quiet = dict(os.environ, MOTO_EC2_LOAD_DEFAULT_AMIS="true", PYTHONPATH="")
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=quiet)
    for _attempt in range(300):
        if (directory / "lab.json").exists():
            return load(directory)
        if server.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"the lab did not come up:\n{(directory / 'server.log').read_text()}")


def down(directory):
    sys.path.insert(0, str(HERE))
    import disks

    path = Path(directory) / "lab.json"
    if path.exists():
        state = load(directory)
        try:
            call(state, "down")
            for _attempt in range(100):
                if not path.exists() or not Path(f"/proc/{state['pid']}").exists():
                    break
                time.sleep(0.1)
        except OSError:
            pass  # it was killed; what it left is cleared away all the same
    disks.clear(directory)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", required=True, help="the directory for everything of this lab")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up").add_argument("--port", type=int, default=0)
    commands.add_parser("seed").add_argument("names", nargs="*")
    commands.add_parser("bill").add_argument("file")
    commands.add_parser("status")
    commands.add_parser("env")
    commands.add_parser("down")
    asked = parser.parse_args()
    if asked.command == "up":
        print(json.dumps(up(asked.state, asked.port), indent=1))
    elif asked.command == "seed":
        sys.path.insert(0, str(HERE))
        import disks
        import seed

        disks.own_mounts()
        for name, snapshot_id in seed.into(lambda what, data: call(load(asked.state), what, data), asked.state, asked.names):
            print(f"{snapshot_id}  {name}")
    elif asked.command == "bill":
        sys.path.insert(0, str(HERE))
        import bill

        state = load(asked.state)
        bill.into(state, environment(state), asked.file)
    elif asked.command == "status":
        print(json.dumps(call(load(asked.state), "status"), indent=1))
    elif asked.command == "env":
        print("\n".join(f"export {name}={value}" for name, value in environment(load(asked.state)).items()))
    else:
        down(asked.state)


if __name__ == "__main__":
    main()

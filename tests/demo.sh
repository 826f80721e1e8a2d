#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The main job as a user runs it: the built and installed collection, the real playbook, real disks, the lab.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
export PATH="$here/.build/venv/bin:$PATH" LC_ALL=C.UTF-8
demo=$(mktemp -d "$here/.build/demo.XXXXXX")
# However this ends, it leaves nothing behind.
COLDSTORE_RUN=$(basename "$demo")
setsid python tests/lab/guard.py --mark "$COLDSTORE_RUN" --clear "$demo" $$ < /dev/null > /dev/null 2>&1 &
export COLDSTORE_RUN
# After a Ctrl+C, modules give back what they hold, and need the lab for that: wait for those of this clone.
settled() {
  for _try in $(seq 100); do
    pgrep -f "$here/.build/worker/bin/python .*AnsiballZ_" > /dev/null || return 0
    sleep 0.2
  done
}
trap 'cd "$here"; settled; python tests/lab --state "$demo/lab" down || true; rm -rf "$demo"' EXIT

say() { printf '\n== %s\n' "$*"; }

say "Build and install the collection"
ansible-galaxy collection build --output-path "$demo" . > /dev/null
mkdir -p "$demo/collections/ansible_collections"
ln -s "$here/.build/tree/ansible_collections/amazon" "$demo/collections/ansible_collections/amazon"
export ANSIBLE_COLLECTIONS_PATH="$demo/collections"
ansible-galaxy collection install --no-deps -p "$demo/collections" "$demo"/coldstore-ebs-*.tar.gz > /dev/null 2>&1
cd "$demo"  # the playbook must not find anything of the checkout

say "Start the lab and seed it"
python "$here/tests/lab" --state "$demo/lab" up > /dev/null
python "$here/tests/lab" --state "$demo/lab" seed
unset AWS_REGION AWS_DEFAULT_REGION AWS_PROFILE  # a plain instance has none of these
eval "$(python "$here/tests/lab" --state "$demo/lab" env)"
python - << 'P'
import boto3
boto3.client("s3", region_name="eu-central-1").create_bucket(Bucket="archives", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
P

cat > inventory.yml << 'I'
workers:
  hosts:
    lane1:
    lane2:
  vars:
    ansible_connection: local
    ansible_host: 127.0.0.1
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
I

say "Migrate and validate on two lanes"
ANSIBLE_CALLBACK_RESULT_FORMAT=yaml ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_DISPLAY_SKIPPED_HOSTS=false \
  ansible-playbook coldstore.ebs.migrate -i inventory.yml \
  -e coldstore_bucket=archives -e coldstore_become=false -e coldstore_poll_interval=0.3 \
  -e coldstore_venv="$here/.build/worker" -e coldstore_validate=true

say "What is in the bucket"
python - << 'P'
import boto3
for page in boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket="archives"):
    for item in page["Contents"]:
        print(f"{item['Size']:>12}  {item['Key']}")
P

say "Restore one archive with nothing but zstd and tar"
mkdir restored
key='vol-00000000000000006/2017-01-06T00:00:00+00:00 snap-00000000000000006.tar.zst'
python -c "import boto3, sys; boto3.client('s3').download_fileobj('archives', sys.argv[1], sys.stdout.buffer)" "$key" \
  | zstd -dc | tar --xattrs --xattrs-include='*' -x -C restored
echo "$(find restored -type f | wc -l) files restored"
find restored -type f | sort | head -3

run() {
  ANSIBLE_CALLBACK_RESULT_FORMAT=yaml ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_DISPLAY_SKIPPED_HOSTS=false \
  ansible-playbook "$@" -i inventory.yml -e coldstore_bucket=archives -e coldstore_become=false -e coldstore_poll_interval=0.3 \
    -e coldstore_venv="$here/.build/worker" -e coldstore_prepare_workers=false
}

say "Restore one file"
run coldstore.ebs.restore -e coldstore_restore_snapshot=snap-00000000000000006 \
  -e coldstore_restore_directory="$demo/one" -e '{"coldstore_restore_paths": ["big"]}'
cmp one/big restored/big && echo "It equals the file that tar extracted."

say "Drill: restore the whole disks of two archives to scratch volumes and compare every byte"
run coldstore.ebs.drill -e '{"coldstore_snapshots": ["snap-00000000000000001", "snap-00000000000000003"]}'

say "Is it worth it? Analyse the lab's own bill, with the real sizes of the archives just made"
python "$here/tests/lab" --state "$demo/lab" bill "$demo/bill.csv.gz"
run coldstore.ebs.analyze -e coldstore_cost_report="$demo/bill.csv.gz" -e coldstore_cost_directory="$demo/report" \
  -e coldstore_cost_refresh_prices=false -e coldstore_cost_minimum_saving=0
ls "$demo/report"

say "Check that nothing is left"
left=$(python "$here/tests/lab" --state "$demo/lab" status | python -c 'import json,sys; s=json.load(sys.stdin); print(len(s["volumes"]), "volumes,", len(s["attached"]), "attached")')
echo "$left"
test "$left" = "0 volumes, 0 attached"

#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Ours against what a user would use instead, side by side in one run; prints the tables of docs/bench.md.
# GIB=4 FILES=110000 TINY=300000 ROUNDS=3 COLD_MIB=512 by default.
set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
python=$PWD/.build/venv/bin/python
for package in gcc libc6-dev fuse3 libfuse3-dev pkg-config rclone time; do
  dpkg-query -W -f='${Status}' "$package" 2> /dev/null | grep -q 'ok installed' \
    || { apt-get update -q && apt-get install -qy --no-install-recommends "$package"; } > /dev/null
done
[ -x .build/bench/bin/aws ] || { python3.11 -m venv .build/bench && .build/bench/bin/pip install -q awscli 2> /dev/null; }
work=$(mktemp -d "$PWD/.build/bench.XXXXXX")
COLDSTORE_RUN=$(basename "$work") # what carries it ends with this script
setsid "$python" tests/lab/guard.py --mark "$COLDSTORE_RUN" --clear "$work" $$ < /dev/null > /dev/null 2>&1 &
export COLDSTORE_RUN
cc -O2 -pthread tests/bench/sink.c -o "$work/sink"
# shellcheck disable=SC2046  # words are meant
cc -O2 tests/bench/slow.c $(pkg-config --cflags --libs fuse3) -o "$work/slow"
mkdir "$work/files"
"$work/sink" 15090 "$work/files" &
sink=$!
clear() {
  cd /
  if mountpoint -q "$work/mnt"; then umount "$work/mnt" || umount --lazy "$work/mnt"; fi # killed, tar may still be at it
  [ -n "${loop:-}" ] && losetup -d "$loop"
  if mountpoint -q "$work/cold"; then umount --lazy "$work/cold"; fi
  kill "$sink" 2> /dev/null || true # a Ctrl+C reached it too
  rm -rf "$work"
}
trap clear EXIT
export AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b AWS_DEFAULT_REGION=eu-central-1 AWS_CONFIG_FILE=/dev/null
export RCLONE_CONFIG=/dev/null
unset AWS_CA_BUNDLE AWS_ENDPOINT_URL # the sink speaks plain HTTP
endpoint=http://127.0.0.1:15090
mkdir "$work/mnt" "$work/cold"

measure() { # name, command: prints name, wall, CPU, peak RSS of the largest process
  /usr/bin/time -f "%e %U %S %M" -o "$work/time" bash -o pipefail -c "$2" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  read -r wall user system peak < "$work/time"
  echo "$1 $wall $(echo "$user $system" | awk '{print $1 + $2}') $((peak / 1024))" | tee -a "$work/results" \
    | awk '{printf "%-28s %8.1f s wall %8.1f s CPU %6d MiB\n", $1, $2, $3, $4}'
}

echo "== ${GIB:-4} GiB, ${FILES:-110000} files, ext4; $(nproc) processors; SHA-256 $(openssl speed -evp sha256 -bytes 1048576 -seconds 1 2> /dev/null | awk 'END {printf "%d MiB/s", $2 / 1048.576}') a core"
truncate -s "$(echo "${GIB:-4}" | awk "{printf \"%d\", \$1 * 1024 + 2048}")M" "$work/image"
mkfs.ext4 -q "$work/image"
mount -o loop "$work/image" "$work/mnt"
"$python" tests/bench/tree.py "$work/mnt" "${GIB:-4}" "${FILES:-110000}"
tar -C "$work/mnt" -c . | cat > /dev/null # everybody reads from the page cache
sync              # and nobody pays for writing the tree
for _round in $(seq "${ROUNDS:-3}"); do
  measure tar-lz4-aws "tar -C $work/mnt -c . | lz4 -1 -c | .build/bench/bin/aws --endpoint-url $endpoint s3 cp - s3://bench/pipe --expected-size 5000000000"
  measure ours-lz4 "$python tests/bench/ours.py $work/mnt $endpoint lz4 1"
  measure tar-zstd-rclone "tar -C $work/mnt -c . | zstd -1 -c | rclone rcat --s3-provider Other --s3-endpoint $endpoint --s3-access-key-id a --s3-secret-access-key b --s3-no-check-bucket --s3-disable-checksum --size-only :s3:bench/rclone"
  measure ours-zstd "$python tests/bench/ours.py $work/mnt $endpoint zstd 1"
done
"$python" tests/bench/restore.py make "$work/mnt" "$work/files" lz4 > "$work/key"
umount "$work/mnt"
rm "$work/image"
"$python" - "$work/results" << 'P'
import collections
import sys

best = collections.defaultdict(lambda: [1e9, 1e9, 0])
for line in open(sys.argv[1]):
    name, *figures = line.split()
    wall, cpu, peak = map(float, figures)
    best[name] = [min(best[name][0], wall), min(best[name][1], cpu), max(best[name][2], peak)]
print(f"{'best of the rounds':<34}{'wall':>8}{'CPU':>8}{'peak RSS':>12}")
for ours, theirs in (("ours-lz4", "tar-lz4-aws"), ("ours-zstd", "tar-zstd-rclone")):
    wall, cpu = (best[ours][n] / best[theirs][n] for n in (0, 1))
    print(f"{ours + ' / ' + theirs:<34}{wall:>7.2f}x{cpu:>7.2f}x{best[ours][2]:>8.0f} MiB")
P

echo "== restore of that tree: lz4, all of it, and one file from its far end"
empty() { # a new ext4 at mnt
  if mountpoint -q "$work/mnt"; then umount "$work/mnt"; fi
  rm -f "$work/image"
  truncate -s "$(echo "${GIB:-4}" | awk "{printf \"%d\", \$1 * 1024 + 2048}")M" "$work/image"
  mkfs.ext4 -q "$work/image"
  mount -o loop "$work/image" "$work/mnt"
  mkdir "$work/mnt/out"
  sync
}
cat "$work/files/"* > /dev/null # everybody reads from the page cache
for _round in $(seq "${ROUNDS:-3}"); do
  empty
  measure restore-aws-lz4-tar ".build/bench/bin/aws --endpoint-url $endpoint s3 cp 's3://bench/$(cat "$work/key")' - | lz4 -dc | tar -x --xattrs --xattrs-include='*' -C $work/mnt/out"
  empty
  measure restore-ours "$python tests/bench/restore.py all $endpoint $work/mnt/out"
  measure restore-one "$python tests/bench/restore.py one $endpoint $work/one"
  cat "$work/log"
  rm -r "$work/one"
done
umount "$work/mnt"
"$python" - "$work/results" << 'P'
import collections
import sys

best = collections.defaultdict(lambda: [1e9, 1e9])
for line in open(sys.argv[1]):
    name, *figures = line.split()
    best[name] = [min(*pair) for pair in zip(best[name], map(float, figures))]
theirs = best["restore-aws-lz4-tar"]
for name in ("restore-ours", "restore-one"):
    wall, cpu = (mine / other for mine, other in zip(best[name], theirs))
    print(f"{name + ' / aws, lz4, tar':<34}{wall:>7.3f}x wall{cpu:>7.3f}x CPU")
P

echo "== ${TINY:-300000} files of some bytes, zstd: the memory they take"
empty
"$python" tests/bench/tree.py "$work/mnt" 0.05 "${TINY:-300000}"
mount -o remount,ro "$work/mnt"
rm "$work/files/"*
measure tiny-archive "$python tests/bench/restore.py make $work/mnt $work/files zstd"
measure tiny-validate "$python tests/bench/restore.py validate $endpoint $work/mnt $work/files"
empty
measure tiny-restore "$python tests/bench/restore.py all $endpoint $work/mnt/out"
umount "$work/mnt"

echo "== files of very many extents: 1 KiB of data, 1 KiB of hole, over and over"
for extents in 128000 1000000; do
  truncate -s "$((extents * 2 / 1000 * 2 + 256))M" "$work/image"
  mkfs.ext4 -q -b 1024 "$work/image"
  mount -o loop "$work/image" "$work/mnt"
  mkdir "$work/mnt/tree"
  "$python" tests/bench/extents.py make "$work/mnt/tree" "$extents"
  measure "plan-$extents" "$python tests/bench/extents.py plan $work/mnt/tree"
  measure "copy-$extents" "$python tests/bench/extents.py copy $work/mnt/tree $work/mnt/out"
  cmp "$work/mnt/tree/pages" "$work/mnt/out/pages"
  umount "$work/mnt"
  rm "$work/image"
done

echo "== a cold volume: 0.15 s at the first touch of each 512 KiB, ${COLD_MIB:-512} MiB of files"
truncate -s "$((${COLD_MIB:-512} * 5 / 4 + 64))M" "$work/image"
mkfs.ext4 -q "$work/image"
mount -o loop "$work/image" "$work/mnt"
"$python" tests/bench/tree.py "$work/mnt" "$(echo "${COLD_MIB:-512}" | awk '{print $1 / 1024}')" 2000
umount "$work/mnt"
for name in tar ours; do
  SLOW_IMAGE="$work/image" "$work/slow" -f -o max_threads=300 "$work/cold" 2> /dev/null &
  slow=$!
  for _try in $(seq 100); do mountpoint -q "$work/cold" && break || sleep 0.05; done
  loop=$(losetup --find --show --read-only --direct-io=on "$work/cold/disk")
  mount -o ro,noload "$loop" "$work/mnt"
  if [ "$name" = tar ]; then
    measure cold-tar "tar -C $work/mnt -c . | cat > /dev/null"
  else
    measure cold-ours "$python tests/bench/ours.py $work/mnt $endpoint lz4 1 $loop"
  fi
  umount "$work/mnt"
  losetup -d "$loop"
  loop=
  umount "$work/cold"
  wait "$slow"
done
awk '/^cold-tar/ {tar = $2} /^cold-ours/ {printf "ours at %.1fx the rate of tar\n", tar / $2}' "$work/results"

echo "== the playbook migrate, one lane, one tiny snapshot: what Ansible takes beside the modules"
"$python" tests/bench/playbook.py "${ROUNDS:-3}"

echo "== a bill: legacy CUR, csv.gz, 100,000 snapshots billed daily, 129 columns"
export PYTHONPATH=$PWD/.build/tree
for size in 0.2 "${BILL_GB:-2}"; do
  "$python" tests/bench/bill.py make "$work/bill-$size.csv.gz" "$size"
done
ls -l "$work"/bill-*.csv.gz | awk '{printf "%.2f GB\n", $5 / 1e9}'
for _round in $(seq "${ROUNDS:-3}"); do
  for way in ours reader; do measure "bill-$way" "$python tests/bench/bill.py $way $work/bill-${BILL_GB:-2}.csv.gz"; done
  measure bill-tenth "$python tests/bench/bill.py ours $work/bill-0.2.csv.gz"
done
measure bill-csv "$python tests/bench/bill.py csv $work/bill-${BILL_GB:-2}.csv.gz"
zcat "$work/bill-0.2.csv.gz" | wc -l > "$work/tenth"
zcat "$work/bill-${BILL_GB:-2}.csv.gz" | wc -l > "$work/whole"
"$python" - "$work/results" "$(cat "$work/whole")" "$(cat "$work/tenth")" << 'P'
import collections
import sys

best = collections.defaultdict(lambda: [1e9, 0])
for line in open(sys.argv[1]):
    name, wall, _cpu, peak = line.split()
    best[name] = [min(best[name][0], float(wall)), max(best[name][1], float(peak))]
ours, peak = best["bill-ours"]
print(f"ours / the reader's own scan {ours / best['bill-reader'][0]:.2f}x, the csv module / ours {best['bill-csv'][0] / ours:.1f}x, peak {peak:.0f} MiB")
print(f"{int(sys.argv[2]) / int(sys.argv[3]):.1f}x the rows take {ours / best['bill-tenth'][0]:.1f}x the time")
P

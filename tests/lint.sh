#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# All checks that read the code without running it. Run tests/setup.sh first.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
export PATH="$here/.build/venv/bin:$PATH" LC_ALL=C.UTF-8
say() { printf '== %s\n' "$*"; }

say ruff
ruff check plugins tests
ruff format --check plugins tests

say mypy --strict
base=ansible_collections.coldstore.ebs.plugins.module_utils
(cd .build/tree && MYPYPATH=. mypy --config-file "$here/pyproject.toml" --cache-dir "$here/.build/mypy" \
  -p $base.common -p $base.engine -p $base.worker -p $base.cloud -p $base.costs -p $base.flows -p $base.adapter)

say shell
for script in tests/*.sh tests/bench/*.sh .ci/run; do bash -n "$script"; done

say yamllint
yamllint -s .

# ansible-test looks at the files that git lists, and needs the collection in its place beside its dependencies.
tree=$(mktemp -d /tmp/coldstore-lint.XXXXXX)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/ansible_collections/coldstore/ebs"
cp -r .build/tree/ansible_collections/amazon "$tree/ansible_collections/amazon"
git ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do
  if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | xargs -0 cp --parents -t "$tree/ansible_collections/coldstore/ebs"
export ANSIBLE_COLLECTIONS_PATH="$tree"
cd "$tree/ansible_collections/coldstore/ebs"

say ansible-lint
ansible-lint --profile production --offline -q

say antsibull-docs
antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs all .

say antsibull-changelog
git init -q . 2> /dev/null
antsibull-changelog lint

say ansible-test sanity
# ansible-test downloads a script to install pip; ensurepip does the same offline.
mkdir -p "$HOME/.ansible/test/cache"
for version in 23_1_2 24_2; do
  script="$HOME/.ansible/test/cache/get_pip_$version.py"
  [ -e "$script" ] || cat > "$script" << 'P'
import subprocess
import sys

wanted = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", *wanted])
P
done
git add -A
ansible-test sanity --local --python 3.11 2>&1 | tee sanity.log
ran=$(grep -c 'Running sanity test' sanity.log)
if [ "$ran" -lt 20 ]; then
  echo "only $ran sanity tests ran: ansible-test saw no files" >&2
  exit 1
fi

#!/usr/bin/env bash
# Every example, as a user would run it: the scripts in an empty directory, the notebook by Jupyter.
source "$(dirname "$0")/common.sh"
"$VENV/bin/pip" install --quiet 'nbconvert>=7.16' 'ipykernel>=6.29'
root=$PWD out=$(mktemp -d)
trap 'status=$?; rm -rf "$out"; echo "== ${0##*/}: $((SECONDS - START)) s, exit $status"' EXIT
cd "$out"
for script in "$root"/examples/*.py; do
  echo "-- ${script##*/}"
  "$PY" "$script"
done
"$PY" -m nbconvert --to html --execute --output-dir "$out" "$root/examples/laboratory.ipynb"

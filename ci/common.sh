# Sourced by every script here: one target directory, one virtual environment, and the seconds each check took.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
export CARGO_TERM_COLOR=never PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
VENV="${KCOMPRESSD_VENV:-$PWD/.venv}"
PY="$VENV/bin/python"
START=$SECONDS
trap 'status=$?; echo "== ${0##*/}: $((SECONDS - START)) s, exit $status"' EXIT

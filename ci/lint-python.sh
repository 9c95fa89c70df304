#!/usr/bin/env bash
# Style, types, and the stubs against the extension.
source "$(dirname "$0")/common.sh"
"$VENV/bin/pip" install --quiet 'ruff>=0.9' 'mypy>=1.11' 'pyright[nodejs]>=1.1.390'
"$VENV/bin/ruff" check python tests tools benches examples experiments
"$VENV/bin/ruff" format --check python tests tools benches examples experiments
"$VENV/bin/mypy"
# The installed package as its users' strict checkers see it.
"$VENV/bin/pyright" --project tests/typed --pythonpath "$PY"
"$VENV/bin/mypy" --strict examples/*.py
"$PY" -c 'import kcompressd._core'
# Only the extension has a stub of its own; the rest is typed in place and mypy's business.
allow="$PWD/ci/stubtest.allowlist" config="$PWD/pyproject.toml"
cd "$(mktemp -d)"
"$VENV/bin/stubtest" kcompressd --ignore-missing-stub --ignore-unused-allowlist --allowlist "$allow" --mypy-config-file "$config"

#!/usr/bin/env bash
# The documentation as a site (target/site), with every link inside it checked; the tutorial's commands are run.
source "$(dirname "$0")/common.sh"
"$VENV/bin/pip" install --quiet 'mkdocs>=1.6,<2' 'mkdocstrings[python]>=0.26'
"$VENV/bin/mkdocs" build --quiet --strict
# Every command of the tutorial still does what the document says.
"$PY" tools/run_docs.py --check docs/tutorial.md
"$PY" tools/run_docs.py --check docs/policy.md

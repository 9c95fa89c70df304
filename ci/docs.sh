#!/usr/bin/env bash
# The documentation as a site (target/site), with every link inside it checked.
source "$(dirname "$0")/common.sh"
"$VENV/bin/pip" install --quiet 'mkdocs>=1.6,<2' 'mkdocstrings[python]>=0.26'
"$VENV/bin/mkdocs" build --quiet --strict

#!/usr/bin/env bash
# Asks every file of experiments/ in virtual time and writes docs/answers.md.
source "$(dirname "$0")/common.sh"
"$PY" -m kcompressd.answers experiments -o docs/answers.md

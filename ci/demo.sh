#!/usr/bin/env bash
# The main job on real pages: capture a process, compare the designs on it, validate what they did.
source "$(dirname "$0")/common.sh"
"$PY" -m kcompressd.demo

"""`python -m kcompressd`: the command without its script."""

import sys

from kcompressd.cli import main

sys.exit(main())

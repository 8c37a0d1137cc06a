"""`reid cross-domain` from a checkout: see reid/cli.py."""

import sys

from reid.cli import tool

sys.exit(tool("cross-domain"))

"""`reid train` from a checkout: see reid/cli.py."""

import sys

from reid.cli import tool

sys.exit(tool("train"))

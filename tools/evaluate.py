"""`reid evaluate` from a checkout: see reid/cli.py."""

import sys

from reid.cli import tool

sys.exit(tool("evaluate"))

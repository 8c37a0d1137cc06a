"""`reid embed` from a checkout: see reid/cli.py."""

import sys

from reid.cli import tool

if __name__ == "__main__":
    sys.exit(tool("embed"))

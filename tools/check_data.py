"""`reid check-data` from a checkout."""

import sys

from checkout import refuse_another_reid

if __name__ == "__main__":
    refuse_another_reid()
    from reid.commands.checking import CHECK_DATA
    from reid.commands.command import run_tool

    sys.exit(run_tool(CHECK_DATA))

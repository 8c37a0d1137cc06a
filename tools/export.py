"""`reid export` from a checkout."""

import sys

from checkout import refuse_another_reid

if __name__ == "__main__":
    refuse_another_reid()
    from reid.commands.command import run_tool
    from reid.commands.exporting import EXPORT

    sys.exit(run_tool(EXPORT))

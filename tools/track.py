"""`reid track` from a checkout."""

import sys

from checkout import refuse_another_reid

if __name__ == "__main__":
    refuse_another_reid()
    from reid.commands.command import run_tool
    from reid.commands.tracking import TRACK

    sys.exit(run_tool(TRACK))

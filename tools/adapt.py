"""`reid adapt` from a checkout."""

import sys

from checkout import refuse_another_reid

if __name__ == "__main__":
    refuse_another_reid()
    from reid.commands.adapting import ADAPT
    from reid.commands.command import run_tool

    sys.exit(run_tool(ADAPT))

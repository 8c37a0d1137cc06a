"""`reid cross-domain` from a checkout."""

import sys

from checkout import refuse_another_reid

if __name__ == "__main__":
    refuse_another_reid()
    from reid.commands.command import run_tool
    from reid.commands.comparing import CROSS_DOMAIN

    sys.exit(run_tool(CROSS_DOMAIN))

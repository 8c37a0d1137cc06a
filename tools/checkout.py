"""For the files beside this one: that ``import reid`` gives this project's package, before they import it."""

import runpy
import sys
from pathlib import Path

another_reid = runpy.run_path(str(Path(__file__).resolve().parents[1] / "reid" / "installed.py"))["another_reid"]


def refuse_another_reid() -> None:
    """End with exit code 2 and the way out where the package of another project would be imported."""
    if problem := another_reid():
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)

"""Whether ``import reid`` gives this project's package: PyPI's ``reid`` (since November 2026, pulled by
``trackers[reid]``) installs a folder of the same name, over this one or before it.

The files in tools/ run this file by its path, before they import ``reid``: it imports nothing of the package.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def another_reid() -> str | None:
    """What stands in this package's place, and the way out, in words; None where it is this one, alone."""
    spec = find_spec("reid")
    if spec is None:
        return "the package reid is not installed: pip install --editable . in its checkout"
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    if not places or not (places[0] / "commands" / "command.py").is_file():
        return _in_the_way(spec.origin or "a module of that name")
    others = sorted(places[0].parent.glob("reid-*.dist-info"))  # this project's is reid_gap-*
    return _in_the_way(f"{places[0]}, of {others[0].name.removesuffix('.dist-info')}") if others else None


def _in_the_way(what: str) -> str:
    return (
        f"the package `reid` of another project (PyPI's reid) is installed in the place of this one: {what}; both have "
        "a folder reid and cannot be mixed: pip uninstall reid; then install this one again: pip install "
        "--force-reinstall --no-deps and its wheel, or --editable . in its checkout"
    )

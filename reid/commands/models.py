"""The option ``--model``, and whether what it names is there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from reid.networks import ANY, RUN, refuse_missing


def add_model(
    parser: argparse.ArgumentParser, takes: str = ANY, required: bool = True, note: str = "", default: str | None = None
) -> None:
    """``default``: the network that is taken where none is named; its name is added to the help."""
    shown = "" if default is None else f" (default: {default})"
    parser.add_argument(
        "--model",
        required=required and default is None,
        default=default,
        metavar="RUN" if takes == RUN else "WHAT",
        help=takes + note + shown,
    )


def check_there(models: Sequence[str], data: Sequence[str] = (), takes: str = ANY) -> None:
    """Look whether networks and data sets are there at all, which needs no torch.

    Raises:
        InputError: naming the first that is not.
    """
    from reid.data.card import defined_by

    for model in models:
        refuse_missing(model, takes)
    for name in data:
        defined_by(name)

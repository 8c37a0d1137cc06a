"""Data sets by name, read from the folders that hold them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reid.data.card import load_card, trials
from reid.data.reading import read_dataset
from reid.data.samples import DataSet
from reid.data.schema import Card, Protocol

log = logging.getLogger(__name__)

_kept: ContextVar[dict[tuple[object, ...], DataSet] | None] = ContextVar("tables that were read", default=None)


@dataclass(frozen=True)
class Roots:
    """The folder that holds the data sets, and the one into which the drawn sites are rendered."""

    folder: Path
    sites: Path

    def read(self, card: Card, splits: Sequence[str] | None) -> DataSet:
        """The tables that a card describes (``splits`` None: all that it has); what differs from the card is said once.
        A drawn site is rendered first.

        Raises:
            InputError: what is missing, misnamed or empty on disk.
        """
        data = self.table(card, splits)
        for note in data.notes:
            warn_once(f"{data.name}: {note}")
        return data

    def dataset(self, name: str, splits: Sequence[str]) -> DataSet:
        """As :meth:`read`, by the card's name."""
        return self.read(load_card(name), splits)

    def datasets(self, name: str, splits: Sequence[str], protocol: Protocol | None = None) -> list[DataSet]:
        """As :meth:`dataset`, but each of its random splits where the card has several and the name picks none; under
        another protocol than the card's where one is given."""
        return [self.read(card.under(protocol), splits) for card in trials(load_card(name))]

    def label(self, name: str) -> str:
        """What the results of a data set, or of all its random splits, are filed under."""
        sets = self.datasets(name, ())
        return sets[0].label if len(sets) == 1 else sets[0].name

    def table(self, card: Card, splits: Sequence[str] | None) -> DataSet:
        """As :meth:`read`, without a word on differences."""
        kept = _kept.get()
        if kept is None:
            return read_dataset(card, self.folder, self.sites, splits)
        key = (repr(card), self.folder, self.sites, None if splits is None else tuple(splits))
        if key not in kept:
            kept[key] = read_dataset(card, self.folder, self.sites, splits)
        return kept[key]


@contextmanager
def tables_kept() -> Iterator[None]:
    """Within the block each table is read once, however many runs ask for it: for a command that takes the data to stay
    as it is."""
    token = _kept.set({} if (before := _kept.get()) is None else before)
    try:
        yield
    finally:
        _kept.reset(token)


def joint_fingerprint(fingerprints: Sequence[str]) -> str:
    """One of several data sets, or of the random splits of one; of a single one its own."""
    if len(fingerprints) == 1:
        return fingerprints[0]
    return hashlib.sha256("".join(fingerprints).encode()).hexdigest()


@lru_cache
def warn_once(text: str) -> None:
    """A command reads the same data set several times."""
    log.warning(text)

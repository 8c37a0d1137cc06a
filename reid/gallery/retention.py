"""Keeping people's images no longer than was decided: entries are dropped a number of days after they were put in."""

from __future__ import annotations

import math
from contextlib import suppress

from reid.errors import InputError
from reid.gallery.entries import NotThere
from reid.gallery.store import Gallery

SETTING = "retention_days"
DAY, PORTION = 86_400.0, 5_000  # seconds; entries erased in one turn


def set_retention(gallery: Gallery, days: str) -> None:
    """``days``: a positive number of days, or "none" to keep entries for good.

    Raises:
        InputError: they are neither.
    """
    gallery.set(SETTING, None if days == "none" else check_days(days, gallery.location))


def check_days(days: str, where: str) -> str:
    """``days`` as they are.

    Raises:
        InputError: beginning with ``where``, when they are no positive number.
    """
    try:
        valid = 0 < float(days) < math.inf
    except ValueError:
        valid = False
    if not valid:
        raise InputError(f"{where}: {SETTING} {days!r} is no number above 0, nor none")
    return days


def drop_expired(gallery: Gallery, now: float) -> list[int]:
    """Erase what was put in longer ago than the retention time, and record it, a portion a turn; returns the ids."""
    days = gallery.setting(SETTING)
    dropped: list[int] = []
    if days is None:
        return dropped
    oldest = now - float(check_days(days, gallery.location)) * DAY
    while ids := gallery.catalogue.expired(oldest, PORTION):
        gallery.record("retention", "forget", ids)
        with suppress(NotThere):  # another process erased some meanwhile; what is left is found anew
            gallery.remove(ids)
            dropped += ids
    return dropped

"""Keeping people's images no longer than was decided: entries are dropped a number of days after they were put in."""

from __future__ import annotations

import math
import time

from reid.errors import InputError
from reid.gallery.audit import AuditLog
from reid.gallery.entries import Store

SETTING = "retention_days"
DAY, PAGE = 86_400.0, 10_000  # seconds; entries looked at together


def set_retention(store: Store, days: str) -> None:
    """``days``: a positive number of days, or "none" to keep entries for good.

    Raises:
        InputError: they are neither.
    """
    store.set(SETTING, None if days == "none" else check_days(days, store.location))


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


def expired(store: Store, now: float) -> list[int]:
    """Ids of entries put in longer ago than the retention time; when they were seen may not be known."""
    days = store.setting(SETTING)
    if days is None:
        return []
    oldest = now - float(check_days(days, store.location)) * DAY
    ids: list[int] = []
    after = 0
    while entries := store.find(limit=PAGE, after=after):
        ids += [entry.id for entry in entries if entry.added < oldest]
        after = entries[-1].id
    return ids


def drop_expired(store: Store, now: float | None = None) -> list[int]:
    """Erase what is expired, and record it; returns the ids. ``store`` is open for writing."""
    ids = expired(store, time.time() if now is None else now)
    if ids:
        AuditLog(store.folder).record("retention", "forget", ids)
        store.remove(ids)
    return ids

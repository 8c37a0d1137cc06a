"""Keeping people's images no longer than was decided: entries are dropped a number of days after they were put in."""

from __future__ import annotations

import time

from reid.errors import InputError
from reid.gallery.audit import AuditLog
from reid.gallery.entries import Store

SETTING = "retention_days"
DAY = 86_400.0


def set_retention(store: Store, days: str) -> None:
    """``days``: a positive number of days, or "none" to keep entries for good.

    Raises:
        InputError: anything else.
    """
    if days == "none":
        store.set(SETTING, None)
        return
    try:
        valid = 0 < float(days) < float("inf")
    except ValueError:
        valid = False
    if not valid:
        raise InputError(f"retention: {days!r} is neither a positive number of days nor none")
    store.set(SETTING, days)


def expired(store: Store, now: float) -> list[int]:
    """Ids of entries put in longer ago than the retention time; when they were seen may not be known."""
    days = store.setting(SETTING)
    if days is None:
        return []
    oldest = now - float(days) * DAY
    return [entry.id for entry in store.find() if entry.added < oldest]


def drop_expired(store: Store, now: float | None = None) -> list[int]:
    """Erase what is expired, and record it; returns the ids. ``store`` is open for writing."""
    ids = expired(store, time.time() if now is None else now)
    if ids:
        store.remove(ids)
        AuditLog(store.folder).record("retention", "forget", ids)
    return ids

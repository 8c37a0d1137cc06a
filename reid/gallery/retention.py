"""Keeping people's images no longer than was decided: entries are dropped a number of days after they were seen."""

from __future__ import annotations

import time

from reid.errors import InputError
from reid.gallery.audit import AuditLog
from reid.gallery.entries import Entry, Store

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
    """Ids of entries seen longer ago than the retention time: the fragment's end or the image's time, or when it was
    put in where its time is not known."""
    days = store.setting(SETTING)
    if days is None:
        return []
    oldest = now - float(days) * DAY
    return [entry.id for entry in store.find() if _seen(entry) < oldest]


def drop_expired(store: Store, now: float | None = None) -> list[int]:
    """Erase what is expired, and record it; returns the ids. ``store`` is open for writing."""
    ids = expired(store, time.time() if now is None else now)
    if ids:
        store.remove(ids)
        AuditLog(store.folder).record("retention", "forget", ids)
    return ids


def _seen(entry: Entry) -> float:
    if entry.time is None:
        return entry.added
    return entry.time if entry.until is None else entry.until

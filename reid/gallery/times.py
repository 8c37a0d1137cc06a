"""Times as people write them: ISO 8601, or seconds since 1970; for the command line, CSV files and the page."""

from __future__ import annotations

import math
import re
from calendar import monthrange
from datetime import UTC, date, datetime
from fractions import Fraction

from reid.errors import InputError

EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0  # seconds since 1970: the years 1 to 9999
DAY = 86_400
EPOCH = date(1970, 1, 1).toordinal()
# Nine or ten digits are 1973 to 2286: no date is written so, and milliseconds are longer.
NUMBER = re.compile(r"[0-9]{9,10}(?:\.[0-9]{1,12})?")
CALENDAR = re.compile(r"([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})")
MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
WEEK = re.compile(r"([0-9]{4})(-?)W([0-9]{2})(?:\2([0-9]))?")
ORDINAL = re.compile(r"([0-9]{4})-?([0-9]{3})")
CLOCK = re.compile(
    r"(?P<hour>[0-9]{2})(?::?(?P<minute>[0-9]{2})(?::?(?P<second>[0-9]{2}))?)?(?P<part>[.,][0-9]{1,12})?"
    r"(?P<zone>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
FORMS = "2026-03-01, 20260301T170500Z or 2026-03-01T17:05+01:00"


def seconds(text: str, what: str) -> float:
    """The moment that a text names, in seconds since 1970, UTC; of a day its beginning.

    A text is a date (2026-03-01, 20260301, 2026-W09-7, 2026-060); or a date, T or a space, and a time of day (17,
    17:05, 170500, 17:05:00.25) with or without a zone (Z, +01, +0100), UTC where there is none; or seconds since 1970
    with 9 or 10 digits before the point. All else is refused, other numbers too: they may be meant as dates.

    Raises:
        InputError: beginning with ``what``; also for a month or a week, which is no moment.
    """
    first, days = _read(text, what)
    if days > 1:
        raise InputError(f"{what}: {text!r} is {days} days: expected a day or a time, like {FORMS}")
    return first


def span(text: str, what: str) -> tuple[float, float]:
    """The first and the last moment of what a text names, in seconds since 1970, UTC: of a day, a week (2026-W09) or a
    month (2026-03) both ends, of all else twice the moment that :func:`seconds` reads.

    Raises:
        InputError: beginning with ``what``.
    """
    first, days = _read(text, what)
    return first, math.nextafter(first + days * DAY, -math.inf) if days else first


def shown(seconds: float) -> str:
    """ISO 8601 in UTC; as a number what no date has, which galleries of before may hold."""
    if not EARLIEST <= seconds <= LATEST:
        return f"{seconds:g} s"
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _read(text: str, what: str) -> tuple[float, int]:
    """Where it begins, and how many days it is; 0 for a moment."""
    given = text.strip()
    if NUMBER.fullmatch(given):
        return float(given), 0
    day, *clock = re.split("[T ]", given.upper(), maxsplit=1)
    try:
        begin, days = _days(day)
        if clock and days != 1:
            raise ValueError("a time of day goes with a day")
        begins = float((begin - EPOCH) * DAY + (_of_day(clock[0]) if clock else 0))
    except ValueError as error:
        raise InputError(f"{what}: {_refusal(given)}: {error}") from None
    if not EARLIEST <= begins <= LATEST:
        raise InputError(f"{what}: {text!r} is no point in time of the years 1 to 9999")
    return begins, 0 if clock else days


def _days(text: str) -> tuple[int, int]:
    """The proleptic ordinal of the first day, and the number of days."""
    if match := CALENDAR.fullmatch(text):
        return date(int(match[1]), int(match[3]), int(match[4])).toordinal(), 1
    if match := WEEK.fullmatch(text):
        first = date.fromisocalendar(int(match[1]), int(match[3]), int(match[4] or 1))
        return first.toordinal(), 1 if match[4] else 7
    if match := MONTH.fullmatch(text):
        year, month = int(match[1]), int(match[2])
        return date(year, month, 1).toordinal(), monthrange(year, month)[1]
    if match := ORDINAL.fullmatch(text):
        year, number = int(match[1]), int(match[2])
        first = date(year, 1, 1)
        if not 1 <= number <= 365 + (monthrange(year, 2)[1] == 29):
            raise ValueError(f"{year} has no day {number}")
        return first.toordinal() + number - 1, 1
    raise ValueError(f"expected ISO 8601, like {FORMS}, or seconds since 1970 in 9 or 10 digits")


def _of_day(text: str) -> Fraction:
    """Seconds from midnight UTC."""
    match = CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no time of day, like 17:05, 170500.25 or 17:05+01:00")
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    unit = 1 if match["second"] else 60 if match["minute"] else 3600
    part = Fraction("0" + match["part"].replace(",", ".")) * unit if match["part"] else Fraction(0)
    since_midnight = 3600 * hour + 60 * minute + second + part
    if minute > 59 or second > 59 or since_midnight > DAY:  # 24:00 is the day's end
        raise ValueError(f"{text!r} is no time of a day")
    return since_midnight - _zone(match["zone"] or "Z")


def _zone(text: str) -> int:
    """Seconds east of UTC."""
    if text == "Z":
        return 0
    hour, minute = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    if hour > 23 or minute > 59:
        raise ValueError(f"{text!r} is no time zone")
    return (3600 * hour + 60 * minute) * (-1 if text[0] == "-" else 1)


def _refusal(text: str) -> str:
    shown = repr(text if len(text) <= 60 else f"{text[:60]}…")
    try:
        float(text)
    except ValueError:
        return f"{shown} is neither a date nor a time"
    digits = len(text)
    hint = {12: "a time goes behind a T", 13: "milliseconds, it seems: divide by 1000", 14: "a time goes behind a T"}
    why = f" ({hint[digits]})" if text.isdecimal() and digits in hint else ""
    return f"{shown} is no point in time{why}"

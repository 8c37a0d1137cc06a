"""Times as people write them: ISO 8601, or seconds since 1970; for the command line, CSV files and the page. And when
the images of a data set were taken."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta, tzinfo
from fractions import Fraction
from zoneinfo import ZoneInfo

from reid.data.card import site_of
from reid.data.samples import DataSet
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
    r"(?P<zone>Z|[+-][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2})?)?)?"  # seconds: of local mean time, as it is shown
)
FORMS = "2026-03-01, 20260301T170500Z or 2026-03-01T17:05+01:00"


def zone(name: str, what: str) -> ZoneInfo:
    """The time zone of a name of the IANA database, such as Europe/Berlin or UTC.

    Raises:
        InputError: beginning with ``what``.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name of that form; a folder, or too long a name
        raise InputError(f"{what}: {_short(name)} is no time zone: expected a name like Europe/Berlin or UTC") from None


def seconds(text: str, what: str, zone: tzinfo = UTC) -> float:
    """The moment that a text names, in seconds since 1970, UTC; of a day its beginning.

    A text is a date (2026-03-01, 20260301, 2026-W09-7, 2026-060); or a date, T or a space, and a time of day (17,
    17:05, 170500, 17:05:00.25) with or without an offset (Z, +01, +0100); or seconds since 1970 with 9 or 10 digits
    before the point. All else is refused, other numbers too: they may be meant as dates.

    Args:
        zone: where a text without an offset is meant. A time that exists twice there, as clocks are put back, is the
            first; one that clocks put forward leave out is refused.

    Raises:
        InputError: beginning with ``what``; also for a month or a week, which is no moment.
    """
    first, _, days = _read(text, what, zone)
    if days > 1:
        raise InputError(f"{what}: {text!r} is {days} days: expected a day or a time, like {FORMS}")
    return first


def span(text: str, what: str, zone: tzinfo = UTC) -> tuple[float, float]:
    """The first and the last moment of what a text names, in seconds since 1970, UTC: of a day, a week (2026-W09) or a
    month (2026-03) both ends, of all else twice the moment that :func:`seconds` reads.

    Days are those of ``zone``, of 23 to 25 hours where clocks change, and follow each other without a gap.

    Raises:
        InputError: beginning with ``what``.
    """
    first, after, days = _read(text, what, zone)
    return first, math.nextafter(after, -math.inf) if days else first


def shown(seconds: float, zone: tzinfo = UTC) -> str:
    """ISO 8601 with the offset of ``zone``; as a number what no date has there, which galleries of before may hold."""
    try:
        return datetime.fromtimestamp(seconds, zone).isoformat()
    except (OverflowError, ValueError):
        return f"{seconds:g} s"


def taken(data: DataSet, split: str) -> list[float | None]:
    """When each image of a split was taken, in the split's order, in seconds since 1970, UTC; None where that is not
    known. It is of drawn and rendered sites alone (:func:`reid.sites.visits.moments`)."""
    names = data.splits[split].names
    if (site := site_of(data.card)) is None:
        return [None] * len(names)
    from reid.sites.visits import moments  # here: it is needed for sites alone

    known = moments(site)
    return [known.get(name) for name in names]


def _read(text: str, what: str, zone: tzinfo) -> tuple[float, float, int]:
    """Where it begins, where it has ended, and how many days it is; 0 for a moment."""
    given = text.strip()
    if NUMBER.fullmatch(given):
        return float(given), float(given), 0
    day, *clock = re.split("[T ]", given.upper(), maxsplit=1)
    try:
        ordinal, days = _days(day)
        if clock and days != 1:
            raise ValueError("a time of day goes with a day")
        since_midnight, east = _of_day(clock[0]) if clock else (Fraction(0), None)
    except ValueError as error:
        raise InputError(f"{what}: {_refusal(given)}: {error}") from None
    midnight = (ordinal - EPOCH) * DAY
    if clock:
        begins = ends = float(_moment(midnight + since_midnight, east, zone, f"{what}: {text!r}"))
        days = 0
    else:
        begins, ends = float(_begin(midnight, zone)), float(_begin(midnight + days * DAY, zone))
        if begins == ends:
            raise InputError(f"{what}: {text!r} is no day in {zone}, where the calendar left it out")
    if not EARLIEST <= begins <= LATEST:
        raise InputError(f"{what}: {text!r} is no point in time of the years 1 to 9999")
    return begins, ends, days


def _moment(wall: Fraction, east: int | None, zone: tzinfo, what: str) -> Fraction:
    """Seconds since 1970, UTC, at which a clock shows ``wall``: one that is ``east`` of UTC, else that of the zone."""
    if east is not None:
        return wall - east
    first, second = _both(math.floor(wall), zone)
    if first > second:
        raise InputError(f"{what} does not exist in {zone}, where clocks were put forward: give it with an offset")
    return first + wall % 1


def _begin(midnight: int, zone: tzinfo) -> int:
    """The first second of a zone's day: the leap itself where clocks leap over its midnight."""
    first, second = _both(midnight, zone)
    if first <= second:
        return first
    return second + bisect_left(range(second, first), midnight, key=lambda moment: _wall(moment, zone))


def _both(wall: int, zone: tzinfo) -> tuple[int, int]:
    """The seconds since 1970, UTC, at which a clock shows ``wall``: the first and the second time where it does so
    twice; where it never does, by its offset before the leap and after, which is the smaller number."""
    known = min(wall, int(LATEST))  # the year 10000 begins where the last day ends
    shows = (datetime(1970, 1, 1) + timedelta(seconds=known)).replace(tzinfo=zone)
    first, second = (int(shows.replace(fold=fold).timestamp()) + wall - known for fold in (0, 1))
    return first, second


def _wall(moment: int, zone: tzinfo) -> int:
    """What the zone's clock shows, as seconds since 1970 by that clock."""
    return int(datetime.fromtimestamp(moment, zone).replace(tzinfo=UTC).timestamp())


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


def _of_day(text: str) -> tuple[Fraction, int | None]:
    """Seconds since midnight, and how many its clock is east of UTC, where it says so."""
    match = CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no time of day, like 17:05, 170500.25 or 17:05+01:00")
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    unit = 1 if match["second"] else 60 if match["minute"] else 3600
    part = Fraction("0" + match["part"].replace(",", ".")) * unit if match["part"] else Fraction(0)
    since_midnight = 3600 * hour + 60 * minute + second + part
    if minute > 59 or second > 59 or since_midnight > DAY:  # 24:00 is the day's end
        raise ValueError(f"{text!r} is no time of a day")
    return since_midnight, _east(match["zone"]) if match["zone"] else None


def _east(text: str) -> int:
    """Seconds east of UTC."""
    if text == "Z":
        return 0
    digits = text[1:].replace(":", "").ljust(6, "0")
    hour, minute, second = (int(digits[place : place + 2]) for place in (0, 2, 4))
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"{text!r} is no time zone")
    return (3600 * hour + 60 * minute + second) * (-1 if text[0] == "-" else 1)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _refusal(text: str) -> str:
    shown = _short(text)
    try:
        float(text)
    except ValueError:
        return f"{shown} is neither a date nor a time"
    digits = len(text)
    hint = {12: "a time goes behind a T", 13: "milliseconds, it seems: divide by 1000", 14: "a time goes behind a T"}
    why = f" ({hint[digits]})" if text.isdecimal() and digits in hint else ""
    return f"{shown} is no point in time{why}"

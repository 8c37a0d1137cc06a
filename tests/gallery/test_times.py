import math
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.errors import InputError
from reid.gallery.times import seconds, shown, span

NINE = 1772442000.0  # 2026-03-02 09:00 UTC


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1772442000", NINE), ("1772442000.25", NINE + 0.25), ("100000000", 1e8), (" 1772442000 ", NINE),
        ("2026-03-02", NINE - 32400), ("20260302", NINE - 32400), ("2026-W10-1", NINE - 32400),
        ("2026W101", NINE - 32400), ("2026-061", NINE - 32400), ("2026061", NINE - 32400),
        ("2026-03-02 09:00", NINE), ("2026-03-02T09:00", NINE), ("20260302T0900", NINE), ("20260302T09", NINE),
        ("20260302T090000Z", NINE), ("2026-03-02T09:00:00z", NINE), ("20260302t090000", NINE),
        ("2026-03-02T11:00:00+0200", NINE), ("2026-03-02T11:00+02", NINE), ("2026-03-02T04:30:00-04:30", NINE),
        ("2026-03-03T00:30+15:30", NINE), ("2026-W10-1T09:00Z", NINE), ("2026-061T09:00", NINE),
        ("2026-03-02T09:00:00.5", NINE + 0.5), ("2026-03-02T09:00:00,125", NINE + 0.125),
        ("2026-03-02T08:59.5", NINE - 30), ("2026-03-02T08,5", NINE - 1800), ("2026-03-01T24:00", NINE - 32400),
        ("1970-01-01", 0.0), ("1970-01-01T00:01:00", 60.0), ("1970-01-01T01:00:00+01:00", 0.0),
        ("1969-12-31T23:59:59", -1.0), ("0001-01-01", -62_135_596_800.0), ("9999-12-31T23:59:59", 253_402_300_799.0),
    ],
)  # fmt: skip
def test_every_form_is_read(text, expected):
    assert seconds(text, "time") == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "0", "60", "12.5", "2026", "202603", "86400", "99999999.5", "-1", "-1772442000", "+1772442000", "1e9",
        "1.7e9", "1e300", "nan", "inf", "-inf", "1_772_442_000", "0x5f5e1000", "17724420000", "1772442000000",
        "1772442000.", "20260230", "20261301", "2026-00-01", "2026-3-2", "2026-0302", "202603-02", "2026-000",
        "2026-366", "2025366", "2026-W00-1", "2026-W54-1", "2026-W10-0", "2026-W10-8", "2026W10-1", "26-03-02",
        "02.03.2026", "03/02/2026", "2026-03-02T", "2026-03-02T25", "2026-03-02T24:01", "2026-03-02T09:60",
        "2026-03-02T09:00:60", "2026-03-02T9:00", "2026-03-02T09:00+24:00", "2026-03-02T09:00+5", "2026-03-02T09:00 Z",
        "2026-03-02  09:00", "2026-03-02Z", "2026-03T09:00", "2026-W10T09:00", "noon", "T09:00", "2026-03-02T09:00\x00",
        "0000-01-01", "10000-01-01", "0001-01-01T00:00+01:00", "9999-12-31T23:59-01:00", "٢٠٢٦-٠٣-٠٢", "1" * 5000,
        "2026-03-02T09:00:00." + "1" * 5000,
    ],
)  # fmt: skip
def test_all_else_is_refused(text):
    for read in (seconds, span):
        with pytest.raises(InputError, match="^--from: "):
            read(text, "--from")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1772442000000", "milliseconds"), ("20260302090000", "a time goes behind a T"), ("60", "9 or 10 digits"),
        ("20260230", "day is out of range"), ("2026-366", "2026 has no day 366"), ("noon", "neither a date nor a time"),
    ],
)  # fmt: skip
def test_the_refusal_says_what_to_write(text, words):
    with pytest.raises(InputError, match=words):
        seconds(text, "time")


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [
        ("2026-03-01", date(2026, 3, 1), date(2026, 3, 2)), ("20260301", date(2026, 3, 1), date(2026, 3, 2)),
        ("2026-W09", date(2026, 2, 23), date(2026, 3, 2)), ("2026W09", date(2026, 2, 23), date(2026, 3, 2)),
        ("2024-02", date(2024, 2, 1), date(2024, 3, 1)), ("2026-12", date(2026, 12, 1), date(2027, 1, 1)),
        ("2020-366", date(2020, 12, 31), date(2021, 1, 1)),
    ],
)  # fmt: skip
def test_days_weeks_and_months_are_whole(text, first, after):
    midnights = [datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() for day in (first, after)]
    assert span(text, "--to") == (midnights[0], math.nextafter(midnights[1], 0))


def test_a_moment_is_a_moment_and_a_month_is_none():
    assert span("2026-03-02T09:00", "--to") == (NINE, NINE)
    assert span("9999-12-31", "--to")[1] > 253_402_300_799
    with pytest.raises(InputError, match="--start: '2026-03' is 31 days: expected a day or a time"):
        seconds("2026-03", "--start")


def test_times_are_shown_in_utc():
    assert shown(NINE + 0.25) == "2026-03-02T09:00:00.250000+00:00" and shown(1e300) == "1e+300 s"


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)), st.integers(-23 * 60, 23 * 60),
    st.sampled_from(["extended", "basic", "week", "ordinal"]),
)  # fmt: skip
def test_as_datetime_reads_it(moment, zone, form):
    east = f"{'-' if zone < 0 else '+'}{abs(zone) // 60:02}:{abs(zone) % 60:02}"
    expected = (moment.replace(tzinfo=UTC) - timedelta(minutes=zone)).timestamp()
    year, week, day = moment.isocalendar()
    text = {
        "extended": f"{moment.isoformat()}{east}",
        "basic": f"{moment.strftime('%Y').zfill(4)}{moment.strftime('%m%dT%H%M%S.%f')}{east.replace(':', '')}",
        "week": f"{year:04}-W{week:02}-{day}T{moment.time().isoformat()}{east}",
        "ordinal": f"{moment.year:04}-{moment.timetuple().tm_yday:03} {moment.time().isoformat()}{east}",
    }[form]
    assert seconds(text, "time") == expected

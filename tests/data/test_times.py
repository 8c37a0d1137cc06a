import math
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reid.data.card import load_card, site_of
from reid.data.reading import read_dataset
from reid.data.times import EARLIEST, LATEST, seconds, shown, span, taken, zone
from reid.errors import InputError
from reid.files import bundled
from reid.sites.visits import moments

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


def test_times_are_shown_with_their_offset():
    assert shown(NINE + 0.25) == "2026-03-02T09:00:00.250000+00:00" and shown(1e300) == "1e+300 s"
    assert shown(NINE, ZoneInfo("America/New_York")) == "2026-03-02T04:00:00-05:00"
    assert shown(EARLIEST) == "0001-01-01T00:00:00+00:00" and shown(LATEST) == "9999-12-31T23:59:59+00:00"
    assert shown(LATEST, ZoneInfo("Asia/Tokyo")) == "2.53402e+11 s" and shown(math.nan) == "nan s"


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


# --- zones ------------------------------------------------------------------------------------------------------------

ZONES = (
    "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kathmandu",
    "America/Goose_Bay", "Pacific/Apia", "UTC",
)  # fmt: skip


@cache
def changes(name: str) -> list[date]:
    """Days around which the zone's offset changes, from 1980 to 2030."""
    noons = [datetime(1980, 1, 1, 12, tzinfo=UTC) + timedelta(days=day) for day in range(51 * 365)]
    offsets = [noon.astimezone(ZoneInfo(name)).utcoffset() for noon in noons]
    pairs = zip(noons, offsets, offsets[1:], strict=False)
    return [noon.date() + timedelta(days=step) for noon, a, b in pairs if a != b for step in (-1, 0, 1)]


days_of_zones = st.sampled_from(ZONES).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.dates(date(1900, 1, 1), date(2037, 1, 1)) | st.sampled_from(changes(name) or [date(2026, 3, 1)]),
    )
)


def readings(local: datetime, name: str) -> list[float]:
    """All moments at which the zone's clock shows this: by every offset that it has about then, read back."""
    near = [local.replace(tzinfo=UTC) + timedelta(hours=hours) for hours in range(-30, 31)]
    tried = {local.replace(tzinfo=UTC) - moment.astimezone(ZoneInfo(name)).utcoffset() for moment in near}
    shows = {moment.timestamp(): moment.astimezone(ZoneInfo(name)).replace(tzinfo=None) for moment in tried}
    return sorted(moment for moment, shown in shows.items() if shown == local)


@given(days_of_zones, st.times())
def test_a_time_without_an_offset_is_the_first_that_the_zones_clock_shows(given, time):
    name, day = given
    local = datetime.combine(day, time)
    moments = readings(local, name)
    if moments:
        assert seconds(local.isoformat(), "time", ZoneInfo(name)) == moments[0]
        assert seconds(shown(moments[0], ZoneInfo(name)), "time", ZoneInfo("Asia/Tokyo")) == moments[0]
    else:
        with pytest.raises(InputError, match=f"^time: .* does not exist in {name}, where clocks were put forward"):
            seconds(local.isoformat(), "time", ZoneInfo(name))


@given(days_of_zones, st.sampled_from(["day", "week", "month"]))
@example(("America/Toronto", date(1919, 3, 31)), "day")  # from 23:30 to 0:30
def test_days_weeks_and_months_are_whole_in_their_zone(given, form):
    name, day = given
    here = ZoneInfo(name)
    year, week, _ = day.isocalendar()
    text = {"day": day.isoformat(), "week": f"{year:04}-W{week:02}", "month": f"{day:%Y-%m}"}[form]
    month = day.replace(day=1)
    first, after = {
        "day": (day, day + timedelta(days=1)),
        "week": (date.fromisocalendar(year, week, 1), date.fromisocalendar(year, week, 1) + timedelta(days=7)),
        "month": (month, (month + timedelta(days=31)).replace(day=1)),
    }[form]
    if (name, day, form) == ("Pacific/Apia", date(2011, 12, 30), "day"):
        with pytest.raises(InputError, match="--to: '2011-12-30' is no day in Pacific/Apia"):
            span(text, "--to", here)
        return
    begin, end = span(text, "--to", here)
    for moment, at in ((begin, first), (math.nextafter(end, math.inf), after)):
        at += timedelta(days=(name, at) == ("Pacific/Apia", date(2011, 12, 30)))  # a day that Samoa left out
        assert datetime.fromtimestamp(moment, here).date() == at > datetime.fromtimestamp(moment - 1, here).date()
    if form == "day":
        assert begin == seconds(text, "--from", here)


def test_days_of_23_and_of_25_hours_and_the_hours_that_make_them_so():
    here = ZoneInfo("Europe/Berlin")
    for text, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24), ("2026-W13", 167)):
        begin, end = span(text, "--to", here)
        assert round(end - begin) == 3600 * hours
    assert seconds("2026-10-25T02:30", "time", here) == seconds("2026-10-25T02:30+02:00", "time", here)
    with pytest.raises(InputError, match=r"^time: '2026-03-29T02:30' does not exist in Europe/Berlin"):
        span("2026-03-29T02:30", "time", here)
    assert seconds("2026-03-29T02:30+01:00", "time", here) == seconds("2026-03-29T01:30Z", "time")


def test_the_ends_of_time_in_zones():
    west, east = ZoneInfo("America/New_York"), ZoneInfo("Asia/Tokyo")
    assert span("9999-12-31", "--to", west) == (LATEST + 1 - 19 * 3600, math.nextafter(LATEST + 1 + 5 * 3600, 0))
    assert seconds("9999-12-31T24:00", "time", east) == LATEST + 1 - 9 * 3600
    for text, here in (("0001-01-01", east), ("9999-12-31T20:00", west)):
        with pytest.raises(InputError, match="no point in time of the years 1 to 9999"):
            span(text, "--to", here)


def test_a_zone_has_a_name():
    assert zone("Europe/Berlin", "--zone") == ZoneInfo("Europe/Berlin") and zone("UTC", "zone").key == "UTC"


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "Europe", "CEST+1", "+01:00", "/etc/passwd", "../UTC", "a\0b", "x" * 5000, "\udc80"]
)
def test_what_is_no_zone_is_refused(name):
    with pytest.raises(InputError, match=r"^--zone: '.{0,61}' is no time zone: expected a name like Europe/Berlin"):
        zone(name, "--zone")


# --- of images --------------------------------------------------------------------------------------------------------


def test_images_of_sites_have_times_and_those_of_other_data_sets_none(market, tmp_path):
    text = (bundled("datasets") / "plaza.yaml").read_text()
    small = "train_identities: 2, test_identities: 3, cameras: 2, missing: 0.0"
    (tmp_path / "own.yaml").write_text(text.replace("seed: 0", small))
    site = read_dataset(load_card(str(tmp_path / "own.yaml")), tmp_path, tmp_path / "sites")
    planned = moments(site_of(site.card))
    for split, samples in site.splits.items():
        assert taken(site, split) == [planned[name] for name in samples.names] and len(samples)
    data = read_dataset(load_card("market1501"), market, tmp_path)
    assert taken(data, "query") == [None] * len(data.splits["query"])

"""The times of a site's images: those of people who walk from camera to camera while the site is open."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from itertools import groupby, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.sites import DrawnSettings, RenderedSettings, SiteSettings
from reid.sites.schedule import plan
from reid.sites.visits import moments

DAYS = [date(2026, 3, day) for day in (3, 4, 5)]


def walks(site: SiteSettings) -> dict[int, list[list[tuple[datetime, int, int]]]]:
    """Time, camera and shot of each image in the order of time, by identity and day."""
    times = moments(site)
    seen = sorted(
        (image.pid, datetime.fromtimestamp(times[image.name], UTC), image.camera, image.shot) for image in plan(site)
    )
    return {
        pid: [[row[1:] for row in day] for _, day in groupby(rows, lambda row: row[1].date())]
        for pid, rows in groupby(seen, lambda row: row[0])
    }


SITES = st.one_of(
    st.builds(
        DrawnSettings,
        st.sampled_from(["plaza", "station", "street"]),
        seed=st.integers(0, 2**32 - 1),
        train_identities=st.integers(1, 5),
        test_identities=st.integers(1, 5),
        cameras=st.integers(2, 9),
        train_shots=st.integers(1, 9),
        missing=st.floats(0, 0.9),
    ),
    st.builds(
        RenderedSettings,
        st.sampled_from(["mall", "night"]),
        seed=st.integers(0, 9),
        train_identities=st.just(3),
        test_identities=st.just(2),
        cameras=st.integers(12, 30),
        passes=st.integers(2, 12),
    ),
)


@given(SITES)
@settings(max_examples=40)
def test_people_walk_from_camera_to_camera_and_are_at_one_at_a_time(site):
    for days in walks(site).values():
        assert 1 <= len(days) <= 2
        passed = [[camera for camera, _ in groupby(camera for _, camera, _ in walk)] for walk in days]
        order = [camera for cameras in passed for camera in cameras]
        assert order in (sorted(set(order)), sorted(set(order), reverse=True))  # each camera once, either way round
        for walk in days:
            assert walk[0][0].date() in DAYS and walk[0][0].time() >= time(7) and walk[-1][0].time() <= time(20)
            for (before, camera, shot), (now, next_camera, next_shot) in pairwise(walk):
                apart = (now - before).total_seconds()
                if camera == next_camera:
                    assert next_shot == shot + 1 and 0.199 < apart < 2.001
                else:
                    assert 19.999 < apart < 120.001


@pytest.mark.parametrize("site", [DrawnSettings("plaza"), RenderedSettings("mall")])
def test_every_image_of_a_site_has_a_time_and_some_people_return(site):
    times = moments(site)
    assert set(times) == {image.name for image in plan(site)} and len(set(times.values())) > 0.99 * len(times)
    people = walks(site)
    assert 0.2 < sum(len(days) == 2 for days in people.values()) / len(people) < 0.4
    once = [days[0][0][0].date() for days in people.values() if len(days) == 1]
    assert all(0.2 < once.count(day) / len(once) < 0.5 for day in DAYS)
    assert {walk[0][0].hour for days in people.values() for walk in days} == set(range(7, 20))


def test_times_are_the_same_each_time_and_depend_on_site_and_seed_alone():
    site = DrawnSettings("plaza")
    times = moments(site)
    assert times == moments(replace(site, style=0.0, degradation=0.0))
    assert times == moments(replace(site, splits=("query",)))  # whichever splits are made
    for other in (replace(site, seed=1), replace(site, site="station")):
        assert not set(times.values()) & set(moments(other).values())
    assert times["query/0151_c1s1_000001_00.jpg"] == 1772610757.076  # 4 March, 7:52


def test_the_longest_walks_end_before_the_site_closes():
    site = RenderedSettings("mall", train_identities=2, test_identities=0, cameras=200, passes=200, train_shots=99)
    for days in walks(site).values():
        assert sum(len(walk) for walk in days) == 200 * 99
        assert all(walk[0][0].time() >= time(7) and walk[-1][0].time() <= time(20) for walk in days)

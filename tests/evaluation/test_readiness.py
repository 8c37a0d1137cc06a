from __future__ import annotations

import re

import pytest
from scipy.stats import spearmanr

from reid.errors import InputError
from reid.evaluation.divergence import StageDivergence
from reid.evaluation.readiness import KnownDomain, figure, readiness


def stages(*medians, norms=(True, True, False, False)):
    return [StageDivergence(n, 100 * m, m, norm) for n, (m, norm) in enumerate(zip(medians, norms, strict=True), 1)]


def known(label, value, drop):
    return KnownDomain(label, stages(9.0, 9.0, value, value), drop)


NEAR, FAR = known("near", 0.1, -5.0), known("far", 1.0, -50.0)


def test_the_figure_is_the_mean_of_medians_where_no_instance_norm_hides_the_difference():
    assert figure(stages(5.0, 7.0, 0.2, 0.4)) == pytest.approx(0.3)
    assert figure(stages(1.0, 2.0, 3.0, 6.0, norms=(False,) * 4)) == 3.0
    with pytest.raises(InputError, match="every stage ends in an instance norm"):
        figure(stages(1.0, 2.0, 3.0, 6.0, norms=(True,) * 4))


@pytest.mark.parametrize(
    ("value", "position", "nearest", "words"),
    [
        (2.0, "beyond", "far", r"beyond all of 2 known domains; the farthest is far \(drop -50.0 points"),
        (0.01, "below", "near", r"closer to the source than any of 2 known domains; nearest is near \(drop -5.0"),
        (0.3, "within", "near", r"within the range of 2 known domains; nearest is near \(drop -5.0 points, figure 0.1"),
        (0.8, "within", "far", r"within the range of 2 known domains; nearest is far"),
        (1.0, "within", "far", "nearest is far"),
    ],
)
def test_a_site_is_placed(value, position, nearest, words):
    found = readiness([FAR, NEAR], stages(0.0, 0.0, value, value), "gate 7")
    assert (found.position, found.nearest.label) == (position, nearest)
    assert found.verdict.startswith(f"gate 7 (figure {value:.3g}) is ")
    assert re.search(words, found.verdict), found.verdict
    assert "no prediction" in found.caveat
    assert [place.figure for place in found.places] == sorted([0.1, 1.0, value])
    assert {place.label: place.drop for place in found.places} == {"near": -5.0, "far": -50.0, "gate 7": None}
    assert found.stages == (3, 4)
    assert next(place.medians for place in found.places if place.drop is None) == (0.0, 0.0, value, value)


def test_rank_correlation_of_figure_and_loss_from_four_domains_on():
    values, drops = [0.1, 0.5, 0.2, 0.5, 0.9], [-3.0, -9.0, -8.0, 1.0, -30.0]
    domains = [known(f"d{n}", value, drop) for n, (value, drop) in enumerate(zip(values, drops, strict=True))]
    site = stages(0.0, 0.0, 0.3, 0.3)
    expected = spearmanr(values, [-drop for drop in drops]).statistic
    assert readiness(domains, site).correlation == pytest.approx(expected)
    assert readiness(domains[:3], site).correlation is None
    assert readiness([known("same", 0.1, drop) for drop in drops], site).correlation is None
    falling = [known(str(n), float(n), -10.0 * n) for n in range(4)]
    assert readiness(falling, site).correlation == pytest.approx(1)


def test_one_known_domain_is_enough_to_place_and_none_is_not():
    for value, words in ((0.5, "farther from the source than"), (0.01, "closer to the source than"),
                         (0.1, "as far from the source as")):  # fmt: skip
        placed = readiness([NEAR], stages(0.0, 0.0, value, value))
        assert f"is {words} the one known domain, near (drop -5.0 points, figure 0.1)." in placed.verdict
    with pytest.raises(InputError, match="no domain with a known drop"):
        readiness([], stages(0.0, 0.0, 0.5, 0.5))


def test_divergences_of_another_network_are_refused():
    with pytest.raises(InputError, match="near and new site: divergences of different networks"):
        readiness([NEAR], stages(0.0, 0.0, 0.5, 0.5, norms=(False,) * 4))

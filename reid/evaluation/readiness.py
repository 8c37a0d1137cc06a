"""Where a new site stands, by unlabelled images, among data sets on which a run's loss is known.

What is compared is the divergence from the source's own test split, never from its training images: those the network
was fitted to. It places; it does not predict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from reid.errors import InputError
from reid.evaluation.divergence import StageDivergence, domain_divergence
from reid.evaluation.moments import moments_of
from reid.evaluation.results import read_results
from reid.evaluation.subject import Subject

FEWEST = 4  # points for a rank correlation to say anything: three fall in order by chance one time in six
CAVEAT = (
    "A handful of reference points is no prediction: two domains equally far can lose differently. Label some images "
    "of the new site and measure."
)


@dataclass(frozen=True)
class KnownDomain:
    """A data set tested on: its divergence from the source's test split, and its drop, cross-domain mAP minus
    in-domain mAP of the same run in points (below 0 where the run loses)."""

    label: str
    divergence: Sequence[StageDivergence]
    drop: float


@dataclass(frozen=True)
class Place:
    """One line of the comparison; `drop` is None for the new site. `medians`: each stage's, as in StageDivergence."""

    label: str
    figure: float
    medians: tuple[float, ...]
    drop: float | None


@dataclass(frozen=True)
class Readiness:
    """A new site among known domains.

    Attributes:
        places: the known domains and the site, the smallest figure first.
        stages: the stages that the figure is the mean of.
        nearest: the known domain whose figure is nearest to the site's.
        position: of the site's figure: below, within or beyond all known ones.
        correlation: Spearman's, between figure and loss (minus the drop) of the known domains; 1 where a larger figure
            always went with a larger loss. None for fewer than four domains, or where either is the same for all.
        verdict: the above in a sentence or two.
        caveat: what the verdict is not.
    """

    places: tuple[Place, ...]
    stages: tuple[int, ...]
    nearest: Place
    position: Literal["below", "within", "beyond"]
    correlation: float | None
    verdict: str
    caveat: str = CAVEAT


def figure(divergence: Sequence[StageDivergence]) -> float:
    """One number for all stages: the mean of the medians of those that do not end in an instance norm.

    Medians, since a few channels that are all but dead in one domain can carry a stage's mean.

    Raises:
        InputError: every stage ends in an instance norm.
    """
    medians = [stage.median for stage in divergence if not stage.instance_norm]
    if not medians:
        raise InputError("every stage ends in an instance norm, which hides the difference that is sought")
    return float(np.mean(medians))


def readiness(known: Sequence[KnownDomain], site: Sequence[StageDivergence], label: str = "new site") -> Readiness:
    """Place a site, by its divergence from the source's test split, among known domains.

    Raises:
        InputError: no known domain, one of another network's stages, or no stage to compare.
    """
    if not known:
        raise InputError(
            f"{label}: no domain with a known drop to compare with; test the run on another data set first"
        )
    stages = tuple(stage.stage for stage in site if not stage.instance_norm)
    for domain in known:
        if stages != tuple(stage.stage for stage in domain.divergence if not stage.instance_norm):
            raise InputError(f"{domain.label} and {label}: divergences of different networks")
    site_place = _place(label, site, None)
    others = sorted((_place(domain.label, domain.divergence, domain.drop) for domain in known), key=_figure)
    nearest = min(others, key=lambda place: abs(place.figure - site_place.figure))
    position: Literal["below", "within", "beyond"] = "within"
    if site_place.figure > others[-1].figure:
        position = "beyond"
    elif site_place.figure < others[0].figure:
        position = "below"
    return Readiness(
        places=tuple(sorted([*others, site_place], key=_figure)),
        stages=stages,
        nearest=nearest,
        position=position,
        correlation=_spearman([place.figure for place in others], [-(place.drop or 0.0) for place in others]),
        verdict=_verdict(site_place, others, nearest, position),
    )


def _place(label: str, divergence: Sequence[StageDivergence], drop: float | None) -> Place:
    return Place(label, figure(divergence), tuple(stage.median for stage in divergence), drop)


def _figure(place: Place) -> float:
    return place.figure


def _verdict(site: Place, others: Sequence[Place], nearest: Place, position: str) -> str:
    named = f"{nearest.label} (drop {nearest.drop:+.1f} points, figure {nearest.figure:.3g})"
    if len(others) == 1:
        far = {"beyond": "farther from the source than", "below": "closer to the source than"}
        there = far.get(position, "as far from the source as")
        return f"{site.label} (figure {site.figure:.3g}) is {there} the one known domain, {named}."
    among = f"{len(others)} known domains"
    if position == "beyond":
        return f"{site.label} (figure {site.figure:.3g}) is beyond all of {among}; the farthest is {named}."
    if position == "below":
        return (
            f"{site.label} (figure {site.figure:.3g}) is closer to the source than any of {among}; nearest is {named}."
        )
    return f"{site.label} (figure {site.figure:.3g}) is within the range of {among}; nearest is {named}."


def _spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    if len(a) < FEWEST or len(set(a)) < 2 or len(set(b)) < 2:
        return None
    return float(np.corrcoef(pd.Series(a).rank(), pd.Series(b).rank())[0, 1])


def assess(subject: Subject, site: str, progress: bool = True) -> Readiness:
    """Place a new site, a folder of images without labels or a data set, among all that a run was tested on.

    Raises:
        InputError: no run of this project, a run of several sources, one adapted to another site, one not tested on its
            own source's test split or on nothing else.
    """
    folder = subject.folder
    if subject.trained is None:
        raise InputError(f"{subject.network.origin.name}: what it was trained on is not known; readiness needs a run")
    results = read_results(folder)
    source = results["run"]["source"]
    tested = {label: test for label, test in results["targets"].items() if not test.get("adabn")}
    if len(results["run"]["sources"]) > 1:
        raise InputError(f"{folder}: was trained on several data sets ({source}); a site is compared with one")
    if subject.run and subject.run.adapted and subject.run.adapted["data"] != source:
        raise InputError(
            f"{folder}: was adapted to {subject.run.adapted['data']}, so that its figures on {source} are no longer "
            f"in-domain; place the site with the run that it was made from, {subject.run.adapted['run']}"
        )
    if source not in tested:
        raise InputError(f"{folder}: was not tested on {source}, its own source; do that first (evaluate.py)")
    reference = moments_of(subject, tested[source]["given"], progress=progress).moments
    known = []
    for label, test in tested.items():
        if label != source:
            moments = moments_of(subject, test["given"], progress=progress).moments
            drop = 100 * (test["mAP"] - tested[source]["mAP"])
            known.append(KnownDomain(label, domain_divergence(reference, moments), drop))
    label, moments = moments_of(subject, site, people=False, progress=progress)
    return readiness(known, domain_divergence(reference, moments), label)

"""Random splits of a small data set: which half of its people is trained on, which is tested, trial by trial.

VIPeR (Gray et al. 2007) and its like have no fixed split: one half of the people, drawn at random, is trained on, the
other tested; what is reported is the mean over ten draws. Which ten was never standardised, so figures of different
papers belong to different draws; those drawn here are fixed.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from reid.data.layouts import Scan
from reid.data.names import some
from reid.data.schema import Card, Half
from reid.errors import InputError


def trials(card: Card) -> list[Card]:
    """One card a random split, in order; the card itself where it has none, or where one was picked."""
    if card.trials is None or card.trial is not None:
        return [card]
    return [card.model_copy(update={"trial": trial}) for trial in range(card.trials)]


def choices(card: Card) -> str:
    """The names by which the card's random splits are picked."""
    return " … ".join(dict.fromkeys(f"{card.name}@{trial}" for trial in (0, (card.trials or 1) - 1)))


def pick_trial(card: Card, word: str, where: str) -> Card:
    """The card with the random split picked that ``word``, what followed the '@', names.

    Raises:
        InputError: no such split, naming the choices.
    """
    if not re.fullmatch(r"0|[1-9][0-9]{0,3}", word) or int(word) >= (card.trials or 0):
        last = (card.trials or 1) - 1
        raise InputError(f"{where}: random split {word!r} is not one of 0 to {last}: {choices(card)}")
    return card.model_copy(update={"trial": int(word)})


def people_of(half: Half, people: Iterable[int], trial: int) -> NDArray[np.int64]:
    """The identities of one half, sorted; with an odd number of ``people`` the second half is larger by one.

    The distinct identities, sorted, are put into the order of as many uniform numbers from a generator seeded by the
    trial: ``default_rng([trial]).random``, since numpy keeps that stream from version to version, but not its shuffle.
    """
    everyone = np.unique(np.fromiter(people, dtype=np.int64))
    order = np.argsort(np.random.default_rng([trial]).random(len(everyone)), kind="stable")
    middle = len(everyone) // 2
    places = {"first": order[:middle], "second": order[middle:]}[half]
    return everyone[np.sort(places)]


def draw_halves(
    card: Card, scans: Mapping[str, Scan], pid_of: Mapping[str, int], cam_of: Mapping[str, int]
) -> tuple[dict[str, NDArray[np.int64]], list[str]]:
    """The identities that each halved split takes in the trial picked, and a note on people seen by one camera alone.

    ``scans`` must hold every split with a ``half``. All people in them are drawn from, those whom one camera alone saw
    too: they can be trained on, but as queries have no match and do not count.
    """
    halved = {name: half for name in scans if (half := card.split(name).half) is not None}
    if card.trial is None or not halved:
        return {}, []
    cameras: dict[int, set[int]] = defaultdict(set)
    for name in halved:
        for row in scans[name].rows:
            cameras[pid_of[row.pid] + card.offset(name)].add(cam_of[row.cam])
    people = [pid for pid in cameras if pid > 0 and pid not in card.junk_pids]
    lonely = sorted(pid for pid in people if len(cameras[pid]) == 1)
    notes = []
    if lonely:
        named = some([str(pid) for pid in lonely])
        notes.append(f"{len(lonely)} of {len(people)} people are seen by one camera alone, they have no match: {named}")
    return {name: people_of(half, people, card.trial) for name, half in halved.items()}, notes

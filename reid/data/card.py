"""A card by its name: YAML, a CSV file or a folder of identities; and its random splits."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reid.data.layouts import Scan, listing, pictures_below, unread_pictures
from reid.data.names import some
from reid.data.schema import SPLITS, Card, Drawn, Half, Split, SplitName
from reid.errors import InputError
from reid.files import bundled, read_yaml, resolve
from reid.overrides import validate

if TYPE_CHECKING:
    from reid.sites import SiteSettings


def load_card(name_or_path: str) -> Card:
    """A card by bundled name or YAML path, a CSV manifest, or a folder of identities.

    `@version` picks a release; `@3` picks the fourth of a card's random splits, and without it `trial` is None.

    A file that exists wins over a bundled name. A bare word that names a bundled card means the card even where a
    folder of that name lies in the working directory; write `./word` for the folder.
    """
    path, text, version = _locate(str(name_or_path))
    if path.is_dir():
        return _no_version(_folder_card(path.resolve()), text, version)
    if path.suffix.lower() == ".csv":
        if not path.is_file():
            raise InputError(f"no manifest {path}")
        table = path.resolve()
        return _no_version(Card(name=_name(table.stem), root=str(table.parent), manifest=table.name), text, version)
    card = validate(Card, read_yaml(path), path)
    if version is None:
        return card
    if card.trials is not None:
        return pick_trial(card, version, str(path))
    if not card.versions:
        return _no_version(card, text, version)
    if version not in card.versions:
        raise InputError(f"{path}: version {version!r} is not one of {', '.join(sorted(card.versions))}")
    return card.model_copy(update={"version": version})


def defined_by(name_or_path: str) -> str:
    """What tells data sets of one name apart: a bundled card's file name, or the resolved path of another card, a
    manifest or a folder."""
    path = _locate(str(name_or_path))[0].resolve()
    return path.name if path.parent == bundled("datasets") and path.is_file() else str(path)


def _locate(text: str) -> tuple[Path, str, str | None]:
    """The folder, manifest or YAML file that a name stands for; the name without its version, and the version."""
    path, version = _path(text), None
    if "@" in text and not path.exists():
        text, _, version = text.rpartition("@")
        path = _path(text)
    bare = len(path.parts) == 1 and not text.startswith(".")
    if text and path.is_dir() and not (bare and (bundled("datasets") / f"{text}.yaml").is_file()):
        return path, text, version
    return path if path.suffix.lower() == ".csv" else resolve("datasets", text), text, version


def _no_version(card: Card, text: str, version: str | None) -> Card:
    if version is not None:
        raise InputError(f"{text}@{version}: {card.name} has no versions to choose from")
    return card


def _folder_card(folder: Path) -> Card:
    """The card of a folder: `train`, `query` and `gallery` of identity folders, or identity folders themselves.

    Without those three every image is a query and a gallery image; none is trained on.
    """
    there = listing(folder).folders
    for name in there:
        if name not in SPLITS and name.lower() in SPLITS:
            raise InputError(
                f"{folder}: folder {name} is no split; splits are named {', '.join(SPLITS)}, in lower case"
            )
    named = [name for name in SPLITS if name in there]
    if named:
        splits: dict[SplitName, Split] = {name: Split(dir=(name,)) for name in named}
    else:
        if not any(listing(folder / name).images for name in there):
            deeper = unread_pictures(sorted(pictures_below(folder)))
            raise InputError(
                f"{folder}: neither {', '.join(SPLITS)} nor folders of images, one an identity, in it"
                + "".join(f"; {line}" for line in deeper)
            )
        splits = {"query": Split(), "gallery": Split()}
    return Card(name=_name(folder.name), root=str(folder), layout="folders", splits=splits)


def _path(text: str) -> Path:
    try:
        path = Path(text).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, an unknown user's home
        raise InputError(f"data set {text!r} is no path: {error}") from None
    return path


def _name(stem: str) -> str:
    """A file's or folder's name as a card's."""
    return re.sub(r"[^\w .@()+-]|^\W+", "_", stem)[:100] or "_"


def site_of(card: Card) -> "SiteSettings | None":
    """Settings of the drawn or rendered site that a card is of; None of any other data set.

    Raises:
        InputError: a value that no site has.
    """
    if card.made is None:
        return None
    from reid.sites import DrawnSettings, RenderedSettings  # here: they are needed for sites alone

    given, drawn = card.made.model_dump(exclude_none=True), isinstance(card.made, Drawn)
    try:
        return DrawnSettings(**given) if drawn else RenderedSettings(**given)
    except (TypeError, ValueError) as error:
        raise InputError(f"card {card.name}, {'drawn' if drawn else 'rendered'}: {error}") from None


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

    VIPeR (Gray et al. 2007) and its like have no fixed split: one half of the people, drawn at random, is trained on,
    the other tested; what is reported is the mean over ten draws. Which ten was never standardised, so figures of
    different papers belong to different draws; those drawn here are fixed.

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

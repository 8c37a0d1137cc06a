"""Answers of a gallery: the nearest entries, what is said of them, where and when they were seen; as a table for a
terminal, a picture, and a ZIP file to take away."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reid.data.times import shown
from reid.drawing import CELL, GAP, INK, LINE, QUERY, RIGHT, WRONG, paste
from reid.files import write_atomically
from reid.gallery.calibration.fitted import SENTENCE
from reid.gallery.calibration.judgement import Judge, Judgement, Word, percent
from reid.gallery.catalogue.records import last_of
from reid.gallery.entries import Entry, Hits
from reid.gallery.store import Gallery
from reid.texts import align

APART = 60.0  # seconds without an image of an answer after which another sighting begins
OWN = (
    "No percentages for images of the query's own camera: calibrated are pairs of two, and the same place looks alike."
)
SEVERAL = "Calibrated are single images: with several, more strangers may be called near than said."
EMPTY = "No image passes the filter, so that there is nothing to compare with."
MISSED = "None of those found is nearer than far; not all were compared, so that a nearer one may have been missed."
HEAD = ["rank", "id", "image", "person", "camera", "time (UTC)", "distance", "word", "probability", "of strangers"]
DRAWN, ACROSS, LISTED = 20, 10, 10  # queries drawn, entries of each; up to so many queries a table shows whole lists
FRAMES = {"near": RIGHT, "far": WRONG}
WIDTH, TEXT = 96, 4 * LINE + 10  # pixels: a column, the text below a thumbnail
COLUMNS = "rank,entry,person,camera,time,until,image,distance,word,probability,strangers,audit"
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # how a cell begins that a spreadsheet would compute


@dataclass(frozen=True)
class Hit:
    """An entry in an answer, at a distance (1 - cosine, 0..2); ``judged`` where the gallery is calibrated; ``decided``:
    what a person said of it and the entry that was looked for."""

    rank: int
    entry: Entry
    distance: float
    judged: Judgement | None = None
    decided: bool | None = None


@dataclass(frozen=True)
class Sighting:
    """Images of an answer, nearest first, that one camera took without a pause; of unknown time, all of a camera and a
    person with a name, and each of the others. ``time`` and ``until``, of the first image and the last, are seconds
    since 1970; None where not known."""

    camera: str
    time: float | None
    until: float | None
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Answer:
    """To one query.

    Attributes:
        hits: nearest first.
        found: the best word among them, "cannot tell" at most of a picture that seems to show no person; "far" where
            there is none; None without a calibration, and where no entry passes the filter.
        exhaustive: every entry that passes the filter was compared.
        sentences: what is said of all of it.
        number: of its line in the audit log.
    """

    hits: tuple[Hit, ...]
    found: Word | None
    exhaustive: bool
    sentences: tuple[str, ...]
    number: int = 0

    @property
    def nobody(self) -> bool | None:
        """Whether nobody here is like the query, as far as all were compared; None as ``found``."""
        return None if self.found is None else self.found == "far" and self.exhaustive

    def sightings(self) -> tuple[Sighting, ...]:
        """The images by camera and time, the sighting of the nearest image first."""
        runs: list[list[Hit]] = []
        end = 0.0
        for hit in sorted(self.hits, key=lambda hit: (_lane(hit), hit.entry.time or 0.0)):
            until = last_of(hit.entry) or 0.0
            if runs and _lane(runs[-1][0]) == _lane(hit) and (hit.entry.time or 0.0) - end <= APART:
                runs[-1].append(hit)
                end = max(end, until)
            else:
                runs.append([hit])
                end = until
        return tuple(sorted(map(_sighting, runs), key=lambda each: each.hits[0].rank))


def answer_of(
    row: int, k: int, there: Mapping[int, Entry], found: Hits, judge: Judge | None, strange: bool, own: Collection[str]
) -> Answer:
    """Of one query, to its first ``k`` entries of those that are ``there``; ``strange``: it is unlike all that was
    calibrated; ``own``: the cameras that it is known to be from."""
    nearest = zip(found.ids[row].tolist(), found.distances[row].tolist(), strict=True)
    pairs = [(there[id], distance) for id, distance in nearest if id in there][:k]
    hits = []
    for rank, (entry, distance) in enumerate(pairs, 1):
        judged = None if judge is None else judge.judge(distance)
        if judged is not None and entry.camera in own:
            judged = replace(judged, probability=None)
        hits.append(Hit(rank, entry, distance, judged))
    if judge is None or not judge.entries:
        return Answer(tuple(hits), None, found.exhaustive, () if judge is None else (EMPTY,))
    words = [judge.word(distance) for _, distance in pairs]
    best: Word = "near" if "near" in words and not strange else "cannot tell" if set(words) - {"far"} else "far"
    sentences = judge.sentences_of(words)
    if best == "far" and not found.exhaustive:
        sentences = (MISSED, *sentences[1:])
    if strange:
        sentences = (SENTENCE, *sentences)
    if judge.people is not None and any(entry.camera in own for entry, _ in pairs):
        sentences = (*sentences, OWN)
    return Answer(tuple(hits), best, found.exhaustive, sentences)


def _lane(hit: Hit) -> tuple[str, int, str]:
    """What the images of a sighting have in common: the camera; of unknown time, the person too, who is known."""
    if hit.entry.time is not None:
        return hit.entry.camera, 0, ""
    return hit.entry.camera, 0 if hit.entry.identity else hit.rank, hit.entry.identity or ""


def _sighting(hits: Sequence[Hit]) -> Sighting:
    """Of its images by rising time."""
    first, ends = hits[0].entry, [until for hit in hits if (until := last_of(hit.entry)) is not None]
    by_rank = tuple(sorted(hits, key=lambda hit: hit.rank))
    return Sighting(first.camera, first.time, max(ends, default=None), by_rank)


def answer_table(names: Sequence[str], answers: Sequence[Answer]) -> str:
    """A line an entry; of many queries only the nearest entry each."""
    few, lines = len(answers) <= LISTED, [["query", *HEAD]]
    for name, answer in zip(names, answers, strict=True):
        file = Path(name).name
        lines += [[file, *_cells(hit)] for hit in (answer.hits if few else answer.hits[:1])]
        if not answer.hits or answer.nobody:
            lines.append([file, *[""] * 7, "nobody" if answer.nobody else "no entry", "", ""])
    return align(lines)


def _cells(hit: Hit) -> list[str]:
    entry, judged, said = hit.entry, hit.judged, ("", "", "")
    if judged is not None:
        chance = "" if judged.probability is None else percent(judged.probability)
        said = (judged.word, chance, f"{float(f'{judged.strangers:.2g}'):,.12g}")
    image = [str(hit.rank), str(entry.id), Path(entry.source).name, entry.identity or "?", entry.camera]
    return [*image, moment(entry.time), f"{hit.distance:.4f}", *said]


def moment(seconds: float | None) -> str:
    """A time for people, UTC; empty where it is not known."""
    return "" if seconds is None else shown(seconds)[:19].replace("T", " ")


def draw_answers(
    queries: Sequence[bytes], answers: Sequence[Answer], thumbnail: Callable[[int], bytes], path: Path
) -> None:
    """Write a PNG: a row a query, its crop (JPEG) and its nearest entries by their ``thumbnail``, a JPEG by id that may
    be empty; near ones are framed in green, far ones in red with a slash, those that cannot be told in grey, as are all
    without a calibration."""
    answers = answers[:DRAWN]
    across = max((min(len(answer.hits), ACROSS) for answer in answers), default=0)
    step = CELL[0] + TEXT + GAP
    sheet = Image.new("RGB", ((across + 1) * WIDTH + 2 * GAP, len(answers) * step + GAP), "white")
    draw = ImageDraw.Draw(sheet)

    def put(row: int, column: int, jpeg: bytes, color: str, texts: Sequence[str], struck: bool = False) -> None:
        place = GAP + column * WIDTH + (WIDTH - CELL[1]) // 2, GAP + row * step
        paste(draw, sheet, _pixels(jpeg), place, color, [_fitting(text) for text in texts], struck)

    for row, answer in enumerate(answers):
        put(row, 0, queries[row], QUERY, ("query", "nobody" if answer.nobody else ""))
        for column, hit in enumerate(answer.hits[:ACROSS], 1):
            entry, word = hit.entry, "" if hit.judged is None else hit.judged.word
            texts = (f"{hit.rank}   {hit.distance:.3f}", entry.identity or "?", entry.camera, moment(entry.time)[5:16])
            put(row, column, thumbnail(entry.id), FRAMES.get(word, QUERY), texts, word == "far")
    content = io.BytesIO()
    sheet.save(content, "PNG")
    write_atomically(path, content.getvalue())


def _fitting(text: str) -> str:
    """The end of a text that fits a column: names differ at their ends."""
    font = ImageFont.load_default(13)
    while font.getlength(text) > WIDTH - 4:
        text = "…" + text[2:]
    return text


def _pixels(jpeg: bytes) -> np.ndarray:
    if not jpeg:
        empty = Image.new("RGB", (CELL[1], CELL[0]), "#eeeeee")
        ImageDraw.Draw(empty).text((CELL[1] // 2, CELL[0] // 2), "no image", fill=INK, anchor="mm")
        return np.asarray(empty)
    return np.asarray(Image.open(io.BytesIO(jpeg), formats=("JPEG",)).convert("RGB"))


def zipped(answer: Answer, gallery: Gallery) -> bytes:
    """``answer.csv``, ``about.txt`` with what is said of the whole, and a JPEG a hit, named by rank and entry."""
    images = gallery.thumbnails([hit.entry.id for hit in answer.hits])
    content, table, pictures = io.BytesIO(), io.StringIO(), dict[str, bytes]()
    rows = csv.writer(table)  # whose lines end with \r\n, so that names that hold either are quoted
    rows.writerow(COLUMNS.split(","))
    for hit, image in zip(answer.hits, images, strict=True):
        entry, judged = hit.entry, hit.judged
        said = ("", "", "") if judged is None else (judged.word, judged.probability, judged.strangers)
        times = ["" if time is None else shown(time) for time in (entry.time, entry.until)]
        picture = f"{hit.rank:03d}-entry-{entry.id}.jpg" if image else ""
        row = (hit.rank, entry.id, entry.identity, entry.camera, *times, picture, hit.distance, *said)
        rows.writerow([_cell(value) for value in (*row, answer.number)])
        if image:
            pictures[picture] = image
    about = [f"{gallery.folder.resolve().name}, line {answer.number} of its audit log", *answer.sentences]
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as file:
        file.writestr("answer.csv", "\ufeff" + table.getvalue())  # the mark tells spreadsheets that it is UTF-8
        file.writestr("about.txt", "\n".join(about) + "\n")
        for picture, image in pictures.items():
            file.writestr(picture, image)
    return content.getvalue()


def _cell(value: object) -> object:
    """A name that a spreadsheet would take for a formula stands behind an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value

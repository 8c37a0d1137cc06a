"""An answer to take away: a table of what was found and said, and the pictures, in one ZIP file."""

from __future__ import annotations

import csv
import io
import zipfile

from reid.data.times import shown
from reid.gallery.answers.answer import Answer, Hit
from reid.gallery.store import Gallery

COLUMNS = (
    "rank", "entry", "person", "camera", "time", "until", "image", "distance", "word", "probability", "strangers",
    "audit",
)  # fmt: skip
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # how a cell begins that a spreadsheet would compute


def zipped(answer: Answer, gallery: Gallery) -> bytes:
    """``answer.csv``, ``about.txt`` with what is said of the whole, and a JPEG a hit, named by rank and entry."""
    images = gallery.thumbnails([hit.entry.id for hit in answer.hits])
    table = io.StringIO()
    rows = csv.writer(table)  # whose lines end with \r\n, so that names that hold either are quoted
    rows.writerow(COLUMNS)
    for hit, image in zip(answer.hits, images, strict=True):
        rows.writerow([_cell(value) for value in _row(hit, image, answer.number)])
    about = [f"{gallery.folder.resolve().name}, line {answer.number} of its audit log", *answer.sentences]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as file:
        file.writestr("answer.csv", "\ufeff" + table.getvalue())  # the mark tells spreadsheets that it is UTF-8
        file.writestr("about.txt", "\n".join(about) + "\n")
        for hit, image in zip(answer.hits, images, strict=True):
            if image:
                file.writestr(_picture(hit), image)
    return content.getvalue()


def _row(hit: Hit, image: bytes, number: int) -> tuple[object, ...]:
    entry, judged = hit.entry, hit.judged
    said = ("", "", "") if judged is None else (judged.word, judged.probability, judged.strangers)
    times = ["" if time is None else shown(time) for time in (entry.time, entry.until)]
    picture = _picture(hit) if image else ""
    return (hit.rank, entry.id, entry.identity, entry.camera, *times, picture, hit.distance, *said, number)


def _picture(hit: Hit) -> str:
    return f"{hit.rank:03d}-entry-{hit.entry.id}.jpg"


def _cell(value: object) -> object:
    """A name that a spreadsheet would take for a formula stands behind an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value

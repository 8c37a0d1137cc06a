"""Answers of a gallery: a table for a terminal, and a picture."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reid.data.times import shown
from reid.drawing import CELL, GAP, INK, LINE, QUERY, RIGHT, WRONG, paste
from reid.files import write_atomically
from reid.gallery.answers.answer import Answer, Hit
from reid.gallery.calibration.judgement import percent
from reid.texts import align

HEAD = [
    "query",
    "rank",
    "id",
    "image",
    "person",
    "camera",
    "time (UTC)",
    "distance",
    "word",
    "probability",
    "of strangers",
]
DRAWN, ACROSS, LISTED = 20, 10, 10  # queries drawn, entries of each; up to so many queries a table shows whole lists
WIDTH, TEXT = 96, 4 * LINE + 10  # pixels: a column, the text below a thumbnail


def answer_table(names: Sequence[str], answers: Sequence[Answer]) -> str:
    """A line an entry; of many queries only the nearest entry each."""
    few, lines = len(answers) <= LISTED, [HEAD]
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
    """Write a PNG: a row a query, its crop and its nearest entries; near ones are framed in green, far
    ones in red with a slash, those that cannot be told in grey, as are all without a calibration.

    Args:
        queries: the crops, JPEG.
        thumbnail: JPEG of an entry, by id; may be empty.
    """
    answers = answers[:DRAWN]
    across = max((min(len(answer.hits), ACROSS) for answer in answers), default=0)
    step = CELL[0] + TEXT + GAP
    sheet = Image.new("RGB", ((across + 1) * WIDTH + 2 * GAP, len(answers) * step + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, answer in enumerate(answers):
        top = GAP + row * step
        paste(draw, sheet, _pixels(queries[row]), (_left(0), top), QUERY, ("query", "nobody" if answer.nobody else ""))
        for column, hit in enumerate(answer.hits[:ACROSS], 1):
            word = "" if hit.judged is None else hit.judged.word
            color = {"near": RIGHT, "far": WRONG}.get(word, QUERY)
            entry = hit.entry
            texts = (f"{hit.rank}   {hit.distance:.3f}", entry.identity or "?", entry.camera, moment(entry.time)[5:16])
            place, caption = (_left(column), top), [_fitting(text) for text in texts]
            paste(draw, sheet, _pixels(thumbnail(entry.id)), place, color, caption, struck=word == "far")
    content = io.BytesIO()
    sheet.save(content, "PNG")
    write_atomically(path, content.getvalue())


def _left(column: int) -> int:
    return GAP + column * WIDTH + (WIDTH - CELL[1]) // 2


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

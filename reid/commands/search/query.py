"""``reid search query`` and ``compare``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from reid.commands.command import add_data_roots
from reid.commands.models import add_model
from reid.commands.search.shared import (
    STORE,
    add_judging,
    add_name,
    all_samples,
    calibration_of,
    dataset,
    filter_of,
    first_few,
    record,
    tell_left_out,
)
from reid.errors import InputError
from reid.files import write_atomically
from reid.networks import EMBEDDER, PEOPLE

if TYPE_CHECKING:
    import numpy as np

    from reid.data.samples import DataSet
    from reid.gallery.entries import Entry
    from reid.gallery.query import Answer

MOST = 1000


def arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, EMBEDDER, default=PEOPLE)
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="crops of people, or folders of them")
    parser.add_argument("--data", metavar="NAME", help="instead: a --split of a data set; its labels give rank-1 too")
    parser.add_argument("--split", default="query", metavar="NAME", help="with --data (default: %(default)s)")
    add_name(parser)
    add_data_roots(parser)
    parser.add_argument("--k", type=int, default=10, metavar="N", help="entries a query (default: %(default)s)")
    parser.add_argument("--camera", action="append", default=[], metavar="NAME", help="only this camera; repeatable")
    parser.add_argument("--from", dest="start", metavar="TIME", help="only from then on: 2026-03-01T17:05:00 (UTC)")
    parser.add_argument("--to", dest="end", metavar="TIME", help="only until then; of a day, its end")
    add_judging(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answers here")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the answers to the first 20 queries")


def run(arguments: argparse.Namespace) -> None:
    import numpy as np

    from reid.gallery.ingest.images import embed_entries
    from reid.gallery.ingest.naming import under_name
    from reid.gallery.listing import answer_table, draw_answers
    from reid.gallery.location import open_store
    from reid.gallery.query import answer, first_ranks
    from reid.networks import load

    if not 1 <= arguments.k <= MOST:
        raise InputError(f"--k {arguments.k}: expected 1 to {MOST}")
    if bool(arguments.data) == bool(arguments.images):
        raise InputError("give images or folders to look for, or --data NAME")
    data = dataset(arguments, arguments.data, [arguments.split]) if arguments.data else None
    asked = _queries(arguments, data)
    model = load(arguments.model)
    with open_store(arguments.store, model.origin) as store:
        wanted, calibration = filter_of(arguments, store), calibration_of(arguments, store)
        if data is not None:
            under_name(store, arguments.name or data.label, data.root, asked, lambda: all_samples(arguments))
        problems: list[str] = []
        some = list(embed_entries(asked, model, problems, progress=len(asked) > 1))
        if not some:
            raise InputError(first_few(problems))
        entries = [entry for part in some for entry in part.entries]
        features = np.concatenate([part.features for part in some])
        answers = answer(store, features, arguments.k, wanted, calibration, arguments.rate)
        record(store, "search", sorted({hit.entry.id for given in answers for hit in given.hits}), queries=len(entries))
        print(answer_table([entry.source for entry in entries], answers))
        if calibration is None:
            print("no thresholds, so nothing here says who is the same person: search.py calibrate chooses some")
        if arguments.data:
            print(_rank1(first_ranks(store, entries, features)))
        if arguments.json:
            write_atomically(arguments.json, json.dumps(_as_json(entries, answers), indent=1) + "\n")
        if arguments.picture:
            thumbnails = [image for part in some for image in part.thumbnails]
            draw_answers(thumbnails, answers, store.thumbnail, arguments.picture)
    for written in filter(None, (arguments.json, arguments.picture)):
        print(f"written: {written}")
    tell_left_out(problems, "queries", "answered")


def _queries(arguments: argparse.Namespace, data: DataSet | None) -> list[Entry]:
    from reid.data.unlabelled import passed_over
    from reid.gallery.entries import Entry
    from reid.gallery.ingest.images import folder_entries, split_entries

    if arguments.name is not None and not (data and arguments.name):
        raise InputError("--name NAME goes with --data, and is not empty")
    if data is not None:
        return split_entries(data, arguments.split, arguments.name)
    entries: list[Entry] = []
    for path in arguments.images:
        for note in passed_over(path) if path.is_dir() else ():
            print(f"{path}: {note}")
        entries += folder_entries(path, "") if path.is_dir() else [Entry(source=str(path.resolve()), camera="")]
    return entries


def _rank1(ranks: np.ndarray) -> str:
    from reid.retrieval.ranking import cmc_curve

    counted = int((ranks > 0).sum())
    if not counted:
        return "no query has a match to find: the same person's images from another camera"
    return f"rank-1 {100 * cmc_curve(ranks)[0]:.2f} % of {counted:,} queries with a match from another camera"


def _as_json(queries: Sequence[Entry], answers: Sequence[Answer]) -> list[dict[str, object]]:
    return [
        {
            "query": query.source,
            "nobody": answer.nobody,
            "hits": [
                {"rank": hit.rank, "distance": hit.distance, "probability": hit.probability, "same": hit.same}
                | hit.entry.as_dict()
                for hit in answer.hits
            ],
        }
        for query, answer in zip(queries, answers, strict=True)
    ]


# --- compare ----------------------------------------------------------------------------------------------------------


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, EMBEDDER, default=PEOPLE)
    parser.add_argument("images", nargs=2, type=Path, metavar="IMAGE", help="two crops of people")
    add_judging(parser)
    parser.set_defaults(store=None)  # only where it is named


def compare(arguments: argparse.Namespace) -> None:
    from reid.gallery.entries import Entry
    from reid.gallery.ingest.images import embed_entries
    from reid.gallery.location import open_store
    from reid.gallery.query import distance_between
    from reid.networks import load
    from reid.retrieval.unit import unit_rows

    model = load(arguments.model)
    problems: list[str] = []
    asked = [Entry(str(path), "") for path in arguments.images]
    some = list(embed_entries(asked, model, problems, progress=False))
    if problems:
        raise InputError("\n".join(problems))
    a, b = unit_rows(some[0].features, model.origin.width, "features")
    distance = distance_between(a, b)
    opened = nullcontext() if arguments.store is None else open_store(arguments.store, model.origin)
    with opened as store:
        calibration = calibration_of(arguments, store)
    print(f"distance {distance:.4f} (1 - cosine, 0 to 2)")
    if calibration is None:
        print(f"no thresholds: give --calibration FILE, or --store WHERE (such as {STORE}) that was calibrated")
        return
    calibration.check(model.origin, str(arguments.calibration or arguments.store))
    verdict = calibration.verdict(distance, calibration.usual if arguments.rate is None else arguments.rate)
    print(f"probability of the same person {verdict.probability:.3f}, if as likely as not before looking")
    print(
        f"{'the same person' if verdict.same else 'not the same person'}: threshold {verdict.threshold:.4f}, at which "
        f"{100 * verdict.false_match_rate:.3g} % of pairs of two people and {100 * verdict.true_match_rate:.1f} % of "
        f"pairs of one lie below it on {calibration.source}, where it was measured"
    )

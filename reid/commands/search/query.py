"""``reid search query`` and ``compare``."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from reid.commands.command import add_data_roots
from reid.commands.models import add_model
from reid.commands.search.shared import (
    STORE,
    add_judging,
    add_name,
    add_zone,
    all_samples,
    calibration_of,
    dataset,
    filter_of,
    first_few,
    opened,
    tell_left_out,
)
from reid.errors import InputError
from reid.files import write_atomically
from reid.networks import EMBEDDER, PEOPLE

if TYPE_CHECKING:
    import numpy as np

    from reid.data.samples import DataSet
    from reid.gallery.answers.answer import Answer
    from reid.gallery.entries import Entry
    from reid.gallery.store import Gallery

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
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="not this camera; repeatable")
    parser.add_argument("--from", dest="start", metavar="TIME", help="only from then on: 2026-03-01T17:05:00")
    parser.add_argument("--to", dest="end", metavar="TIME", help="only until then; of a day, its end")
    add_zone(parser)
    parser.add_argument(
        "--one-person", action="store_true", help="the images show one person: one answer to all of them"
    )
    add_judging(parser)
    parser.add_argument(
        "--share",
        type=float,
        metavar="P",
        help="of strangers that may see a confident answer, 0 to 1 (default: 0.05)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answers here")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the answers to the first 20 queries")
    parser.add_argument(
        "--zip", type=Path, metavar="FILE", help="with one answer: its table and pictures as a ZIP file"
    )


def run(arguments: argparse.Namespace) -> None:
    import numpy as np

    from reid.gallery.answers.listing import answer_table, draw_answers
    from reid.gallery.answers.zipped import zipped
    from reid.gallery.ingest.images import embed_entries
    from reid.gallery.ingest.naming import under_name
    from reid.networks import load

    if not 1 <= arguments.k <= MOST:
        raise InputError(f"--k {arguments.k}: expected 1 to {MOST}")
    if bool(arguments.data) == bool(arguments.images):
        raise InputError("give images or folders to look for, or --data NAME")
    data = dataset(arguments, arguments.data, [arguments.split]) if arguments.data else None
    asked = _queries(arguments, data)
    model = load(arguments.model)
    service = opened(arguments, model)
    with service.gallery as gallery:
        wanted = filter_of(arguments, gallery)
        if data is not None:
            under_name(gallery, arguments.name or data.label, data.root, asked, lambda: all_samples(arguments))
        problems: list[str] = []
        some = list(embed_entries(asked, model, problems, progress=len(asked) > 1))
        if not some:
            raise InputError(first_few(problems))
        entries = [entry for part in some for entry in part.entries]
        features = np.concatenate([part.features for part in some])
        if arguments.zip and len(entries) > 1 and not arguments.one_person:
            raise InputError(f"--zip {arguments.zip}: takes one answer, not {len(entries)}: --one-person gives one")
        if arguments.one_person:
            answers = [service.search(features, (), arguments.k, wanted, share=arguments.share, rate=arguments.rate)]
            entries = entries[:1]
        else:
            answers = service.answers(features, arguments.k, wanted, arguments.share, arguments.rate)
        print(answer_table([entry.source for entry in entries], answers))
        if service.calibration is None:
            print("no calibration, so nothing here says who is the same person: search.py calibrate makes one")
        for sentence in answers[0].sentences[len(answers) > 1 :]:  # the first is of that answer alone
            print(sentence)
        if not answers[0].exhaustive:
            print(f"index {gallery.index_state()}: a nearer image may have been missed")
        if arguments.data and not arguments.one_person:
            print(_rank1(first_ranks(gallery, entries, features)))
        if arguments.json:
            write_atomically(arguments.json, json.dumps(_as_json(entries, answers), indent=1) + "\n")
        if arguments.picture:
            pictures = [image for part in some for image in part.thumbnails]
            draw_answers(pictures, answers, lambda id: gallery.thumbnails([id])[0], arguments.picture)
        if arguments.zip:
            write_atomically(arguments.zip, zipped(answers[0], gallery))
    for written in filter(None, (arguments.json, arguments.picture, arguments.zip)):
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


def first_ranks(gallery: Gallery, queries: Sequence[Entry], features: np.ndarray) -> np.ndarray:
    """(Q,) int64 rank of each query's first match as the evaluation counts it: entries of its person *and* camera are
    left out. 0 where there is no match to find; more than 50 counts as 51."""
    import numpy as np

    from reid.gallery.entries import Filter
    from reid.retrieval.ranking import CMC_RANKS

    ranks = np.zeros(len(queries), np.int64)
    people = tuple({query.identity for query in queries if query.identity is not None})
    if not people:
        return ranks
    there = Counter((entry.identity, entry.camera) for entry in gallery.find(Filter(identities=people)))
    of_person: Counter[str | None] = Counter()
    for (person, _), count in there.items():
        of_person[person] += count
    most = max((there[query.identity, query.camera] for query in queries), default=0)
    hits = gallery.search(features, CMC_RANKS + most)
    entries = gallery.present(np.unique(hits.ids[hits.ids >= 0]).tolist())
    for number, query in enumerate(queries):
        if query.identity is None or of_person[query.identity] == there[query.identity, query.camera]:
            continue
        nearest = [entries[id] for id in hits.ids[number].tolist() if id in entries]
        counted = [entry for entry in nearest if (entry.identity, entry.camera) != (query.identity, query.camera)]
        matches = (rank for rank, entry in enumerate(counted, 1) if entry.identity == query.identity)
        ranks[number] = min(next(matches, CMC_RANKS + 1), CMC_RANKS + 1)
    return ranks


def _as_json(queries: Sequence[Entry], answers: Sequence[Answer]) -> list[dict[str, object]]:
    return [
        {
            "query": query.source,
            "found": answer.found,
            "nobody": answer.nobody,
            "exhaustive": answer.exhaustive,
            "sentences": answer.sentences,
            "audit": answer.number,
            "hits": [
                {"rank": hit.rank, "distance": hit.distance}
                | (asdict(hit.judged) if hit.judged else {})
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
    from reid.gallery.calibration import judgement
    from reid.gallery.entries import Entry
    from reid.gallery.ingest.images import embed_entries
    from reid.gallery.service import distance
    from reid.networks import load
    from reid.retrieval.unit import unit_rows

    model = load(arguments.model)
    problems: list[str] = []
    asked = [Entry(str(path), "") for path in arguments.images]
    some = list(embed_entries(asked, model, problems, progress=False))
    if problems:
        raise InputError("\n".join(problems))
    rows = unit_rows(some[0].features, model.origin.width, "features")
    if arguments.store is None:
        apart, calibration = distance(rows[0], rows[1]), calibration_of(arguments)
        if calibration is not None:
            calibration.check(model.origin, str(arguments.calibration))
        said = None if calibration is None else judgement.compare(calibration, apart, rate=arguments.rate)
    else:
        service = opened(arguments, model)
        with service.gallery:
            apart, said = service.compare(rows[0], rows[1], rate=arguments.rate)
    print(f"distance {apart:.4f} (1 - cosine, 0 to 2)")
    if said is None:
        print(f"no calibration: give --calibration FILE, or --store FOLDER (such as {STORE}) that was calibrated")
        return
    print("\n".join((said.word, *said.sentences)))

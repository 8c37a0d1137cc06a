"""``reid search query`` and ``compare``."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence

import numpy as np

from reid import networks
from reid.commands.search.options import STORE, first_few, tell_left_out
from reid.commands.search.shared import all_samples, calibration_of, filter_of, named_dataset, opened
from reid.data.samples import DataSet
from reid.data.unlabelled import passed_over
from reid.errors import InputError
from reid.files import write_atomically
from reid.gallery.answers import OWN, Answer, answer_table, draw_answers, zipped
from reid.gallery.calibration.fitted import SENTENCE
from reid.gallery.entries import Entry, Filter
from reid.gallery.ingest.images import embed_entries, folder_entries, split_entries
from reid.gallery.ingest.naming import under_name
from reid.gallery.service import compared
from reid.gallery.store import Gallery
from reid.retrieval.unit import unit_rows

MOST = 1000


def query(arguments: argparse.Namespace) -> None:
    if not 1 <= arguments.k <= MOST:
        raise InputError(f"--k {arguments.k}: expected 1 to {MOST}")
    if bool(arguments.data) == bool(arguments.images):
        raise InputError("give images or folders to look for, or --data NAME")
    data = named_dataset(arguments)
    asked = _queries(arguments, data)
    model, problems = networks.load(arguments.model), list[str]()
    with opened(arguments, model) as service:
        gallery = service.gallery
        wanted = filter_of(arguments, gallery)
        if data is not None:
            under_name(gallery, arguments.name or data.label, data.root, asked, lambda: all_samples(arguments))
        rows, features, crops = embed_entries(asked, model, problems, progress=len(asked) > 1)
        if not rows:
            raise InputError(first_few(problems))
        entries = [asked[row] for row in rows]
        if arguments.zip and len(entries) > 1 and not arguments.one_person:
            raise InputError(f"--zip {arguments.zip}: takes one answer, not {len(entries)}: --one-person gives one")
        share, rate, cameras = arguments.share, arguments.rate, [entry.camera for entry in entries]
        if arguments.one_person:
            answers = [service.search(features, (), arguments.k, wanted, False, share, rate, cameras)]
            entries = entries[:1]
        else:
            answers = service.answers(features, arguments.k, wanted, share, rate, cameras)
        print(answer_table([entry.source for entry in entries], answers))
        if service.calibration is None:
            print("no calibration, so nothing here says who is the same person: search.py calibrate --store makes one")
        for sentence in _said(answers):
            print(sentence)
        if not all(answer.exhaustive for answer in answers):
            print(f"index {gallery.index_state()}: a nearer image may have been missed")
        if data is not None and not arguments.one_person:
            right = rank1_hits(gallery, entries, features)
            told = f"of {len(right):,} queries with a match from another camera"
            lacking = "no query has a match to find: the same person's images from another camera"
            print(f"rank-1 {100 * np.mean(right):.2f} % {told}" if right else lacking)
        if arguments.json:
            given = [_as_json(*each) for each in zip(entries, answers, strict=True)]
            write_atomically(arguments.json, json.dumps(given, indent=1) + "\n")
        if arguments.picture:
            draw_answers(crops, answers, lambda id: gallery.thumbnails([id])[0], arguments.picture)
        if arguments.zip:
            write_atomically(arguments.zip, zipped(answers[0], gallery))
    for written in filter(None, (arguments.json, arguments.picture, arguments.zip)):
        print(f"written: {written}")
    tell_left_out(problems, "queries", "answered")


def _said(answers: Sequence[Answer]) -> list[str]:
    """Of one answer all; of several what is said of all, and of how many the rest that the table does not show."""
    if len(answers) == 1:
        return list(answers[0].sentences)
    of_all = [sentence for sentence in answers[0].sentences if sentence not in (SENTENCE, OWN)][1:]
    counts = {of_some: sum(of_some in answer.sentences for answer in answers) for of_some in (SENTENCE, OWN)}
    return [*of_all, *(f"{count:,} of {len(answers):,}: {of_some}" for of_some, count in counts.items() if count)]


def _queries(arguments: argparse.Namespace, data: DataSet | None) -> list[Entry]:
    if data is not None:
        return split_entries(data, arguments.split, arguments.name)
    entries: list[Entry] = []
    for path in arguments.images:
        for note in passed_over(path) if path.is_dir() else ():
            print(f"{path}: {note}")
        entries += folder_entries(path, "") if path.is_dir() else [Entry(source=str(path.resolve()), camera="")]
    return entries


def rank1_hits(gallery: Gallery, queries: Sequence[Entry], features: np.ndarray) -> list[bool]:
    """Of each of the queries, with (Q, D) ``features``, that has a match to find: whether the nearest entry is one, as
    the evaluation counts, which leaves entries of the query's person *and* camera out."""
    people = {query.identity for query in queries if query.identity is not None}
    there = gallery.find(Filter(identities=tuple(people))) if people else []
    of_person = Counter(entry.identity for entry in there)
    left_out = Counter((entry.identity, entry.camera) for entry in there)
    most = max(left_out[query.identity, query.camera] for query in queries)
    hits = gallery.search(features, most + 1)
    entries = gallery.catalogue.present(np.unique(hits.ids[hits.ids >= 0]).tolist())
    right = []
    for query, ids in zip(queries, hits.ids.tolist(), strict=True):
        own = (query.identity, query.camera)
        if of_person[query.identity] > left_out[own]:
            nearest = (entries[id] for id in ids if id in entries)
            first = next((entry for entry in nearest if (entry.identity, entry.camera) != own), None)
            right.append(first is not None and first.identity == query.identity)
    return right


def _as_json(query: Entry, answer: Answer) -> dict[str, object]:
    return {
        "query": query.source,
        "found": answer.found,
        "nobody": answer.nobody,
        "exhaustive": answer.exhaustive,
        "sentences": answer.sentences,
        "audit": answer.number,
        "hits": [
            {"rank": hit.rank, "distance": hit.distance, **(vars(hit.judged) if hit.judged else {}), **vars(hit.entry)}
            for hit in answer.hits
        ],
    }


def compare(arguments: argparse.Namespace) -> None:
    model, problems = networks.load(arguments.model), list[str]()
    asked = [Entry(str(path), "") for path in arguments.images]
    _, features, _ = embed_entries(asked, model, problems, progress=False)
    if problems:
        raise InputError("\n".join(problems))
    first, second = unit_rows(features, model.origin.width, "features")
    if arguments.store is not None:
        with opened(arguments, model) as service:
            apart, said = service.compare(first, second, rate=arguments.rate)
    else:
        if (calibration := calibration_of(arguments)) is not None:
            calibration.check(model.origin, str(arguments.calibration))
        apart, said = compared(calibration, first, second, arguments.rate)
    print(f"distance {apart:.4f} (1 - cosine, 0 to 2)")
    if said is None:
        print(f"no calibration: give --calibration FILE, or --store FOLDER (such as {STORE}) that was calibrated")
    else:
        print("\n".join((said.word, *said.sentences)))

"""The slow and obvious gallery: lists in memory. A real one must answer as it does, wherever its parts are."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from reid.gallery.catalogue.records import content_of, place_of
from reid.gallery.entries import CHANGES, EVERYTHING, Hits, NotThere, Summary
from reid.gallery.vectors.rows import IndexReport
from reid.retrieval.unit import unit_rows


def passes(wanted, entry):
    """Whether an entry counts under a filter."""
    if wanted.cameras and entry.camera not in wanted.cameras:
        return False
    if entry.camera in wanted.without:
        return False
    if wanted.identities and entry.identity not in wanted.identities:
        return False
    if wanted.start is None and wanted.end is None:
        return True
    if entry.time is None:
        return False
    last = entry.time if entry.until is None else entry.until
    return (wanted.start is None or last >= wanted.start) and (wanted.end is None or entry.time <= wanted.end)


class MemoryStore:
    """See :class:`reid.gallery.store.Gallery`; distances in float64, whole sorts, filters entry by entry."""

    def __init__(self, origin, folder=Path()):
        self.location, self.origin, self.folder = "memory", origin, Path(folder)
        self.entries, self.rows, self.images, self.settings = {}, {}, {}, {}
        self.gone, self.lines, self.pairs = set(), [], {}
        self.next_id, self.catalogue = 1, self

    def __len__(self):
        return len(self.entries)

    def get(self, ids):
        for id in ids:
            if id not in self.entries:
                raise NotThere(f"memory: no entry {id}")
        return [self.entries[id] for id in ids]

    def present(self, ids):
        return {id: self.entries[id] for id in ids if id in self.entries}

    def find(self, wanted=EVERYTHING, limit=None, after=0):
        return [entry for id, entry in sorted(self.entries.items()) if id > after and passes(wanted, entry)][:limit]

    def counts(self, wanted=EVERYTHING):
        names = [entry.identity for entry in self.find(wanted)]
        return len(names), len(set(names)) if names and None not in names else None

    def of_source(self, source):
        return [entry for entry in self.find() if entry.source == source]

    def thumbnails(self, ids):
        self.get(ids)
        return [self.images[id] for id in ids]

    def features(self, ids):
        self.get(ids)
        return np.array([self.rows[id] for id in ids], np.float32).reshape(len(ids), self.origin.width)

    def search(self, queries, k, wanted=EVERYTHING, exact=False):
        queries = unit_rows(queries, self.origin.width, "queries")
        hits = Hits(np.full((len(queries), k), -1), np.full((len(queries), k), np.nan))
        ids = [entry.id for entry in self.find(wanted)]
        for number, query in enumerate(queries):
            distances = {id: 1 - float(query.astype(np.float64) @ self.rows[id].astype(np.float64)) for id in ids}
            best = sorted(distances, key=lambda id: (distances[id], id))[:k]
            hits.ids[number, : len(best)] = best
            hits.distances[number, : len(best)] = [distances[id] for id in best]
        return hits

    def known(self, column, values):
        numbers = {
            id: place_of(entry) if column == "place" else content_of(self.images[id])
            for id, entry in sorted(self.entries.items())
        }
        found = {value: [id for id, number in numbers.items() if number == value] for value in values}
        return {value: ids for value, ids in found.items() if ids}

    def erased(self, places):
        return self.gone & set(places)

    def expired(self, oldest, limit):
        rising = sorted(self.entries.values(), key=lambda entry: (entry.added, entry.id))
        return [entry.id for entry in rising if entry.added < oldest][:limit]

    def summary(self):
        entries = list(self.entries.values())
        names = {entry.identity for entry in entries} - {None}
        times = [entry.time for entry in entries if entry.time is not None]
        ends = [entry.until if entry.until is not None else entry.time for entry in entries if entry.time is not None]
        return Summary(
            len(entries), len(names), sum(entry.identity is None for entry in entries),
            dict(sorted(Counter(entry.camera for entry in entries).items())),
            min(times, default=None), max(ends, default=None),
        )  # fmt: skip

    def names(self):
        return sorted({entry.identity for entry in self.entries.values()} - {None})

    def decisions(self, of=None):
        return {pair: same for pair, same in self.pairs.items() if of is None or of in pair}

    def setting(self, name):
        return self.settings.get(name)

    def log(self, after=0, limit=1000):
        return [line for line in self.lines if line["number"] > after][:limit]

    def index_state(self):
        return IndexReport("flat", 1.0, 0, 0, len(self), "flat", False)

    def add(self, entries, features, thumbnails, now=1.0):
        """``now``: when entries were added that do not say it."""
        rows = unit_rows(features, self.origin.width, "features")
        ids = list(range(self.next_id, self.next_id + len(entries)))
        self.next_id += len(entries)
        for id, entry, row, image in zip(ids, entries, rows, thumbnails, strict=True):
            self.entries[id] = replace(entry, id=id, added=entry.added or now)
            self.rows[id], self.images[id] = row, image
            self.gone.discard(place_of(entry))
        return ids

    def update(self, changes):
        self.get(list(changes))
        for id, values in changes.items():
            assert set(values) <= set(CHANGES)
            self.entries[id] = replace(self.entries[id], **values)

    def remove(self, ids):
        self.get(ids)
        for id in set(ids):
            self.gone.add(place_of(self.entries[id]))
            del self.entries[id], self.rows[id], self.images[id]
            self.pairs = {pair: same for pair, same in self.pairs.items() if id not in pair}

    def set(self, name, value):
        self.settings[name] = value

    def decide(self, first, second, same):
        self.get([first, second])
        self.pairs.pop(pair := (min(first, second), max(first, second)), None)
        if same is not None:
            self.pairs[pair] = same

    def record(self, who, action, entries=(), **numbers):
        number = len(self.lines) + 1
        self.lines.append(
            {"number": number, "time": 1.0, "who": who, "action": action, "entries": list(entries), **numbers}
        )
        return number

    def tend(self, progress=False):
        return False

    def verify(self):
        return []

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.close()

"""The slow and obvious gallery: lists in memory. The other stores must answer as it does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from reid.errors import InputError
from reid.gallery.entries import CHANGES, EVERYTHING, Hits, Summary
from reid.retrieval.unit import unit_rows


class MemoryStore:
    """See :class:`reid.gallery.entries.Store`; distances in float64, whole sorts, filters entry by entry."""

    def __init__(self, origin, folder=Path()):
        self.location, self.origin, self.folder = "memory", origin, Path(folder)
        self.entries, self.rows, self.images, self.settings = {}, {}, {}, {}
        self.next_id = 1

    def __len__(self):
        return len(self.entries)

    def add(self, entries, features, thumbnails):
        rows = unit_rows(features, self.origin.width, "features")
        ids = list(range(self.next_id, self.next_id + len(entries)))
        self.next_id += len(entries)
        for id, entry, row, image in zip(ids, entries, rows, thumbnails, strict=True):
            self.entries[id] = replace(entry, id=id, added=1.0)
            self.rows[id], self.images[id] = row, image
        return ids

    def update(self, ids, changes):
        assert set(changes) <= set(CHANGES)
        for entry in self.get(ids):
            self.entries[entry.id] = replace(entry, **changes)

    def remove(self, ids):
        self.get(ids)
        for id in set(ids):
            del self.entries[id], self.rows[id], self.images[id]

    def get(self, ids):
        for id in ids:
            if id not in self.entries:
                raise InputError(f"memory: no entry {id}")
        return [self.entries[id] for id in ids]

    def find(self, wanted=EVERYTHING, limit=None, after=0):
        return [entry for id, entry in sorted(self.entries.items()) if id > after and wanted.passes(entry)][:limit]

    def thumbnail(self, id):
        self.get([id])
        return self.images[id]

    def features(self, ids):
        self.get(ids)
        return np.array([self.rows[id] for id in ids], np.float32).reshape(len(ids), self.origin.width)

    def search(self, queries, k, wanted=EVERYTHING):
        queries = unit_rows(queries, self.origin.width, "queries")
        hits = Hits(np.full((len(queries), k), -1), np.full((len(queries), k), np.nan))
        ids = [entry.id for entry in self.find(wanted)]
        for number, query in enumerate(queries):
            distances = {id: 1 - float(query.astype(np.float64) @ self.rows[id].astype(np.float64)) for id in ids}
            best = sorted(distances, key=lambda id: (distances[id], id))[:k]
            hits.ids[number, : len(best)] = best
            hits.distances[number, : len(best)] = [distances[id] for id in best]
        return hits

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

    def setting(self, name):
        return self.settings.get(name)

    def set(self, name, value):
        self.settings[name] = value

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.close()

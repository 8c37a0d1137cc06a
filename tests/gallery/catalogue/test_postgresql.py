"""What a server brings: several who write at once, connections that are lost."""

from __future__ import annotations

import threading

import numpy as np
import postgresql_server
import pytest

from reid.errors import InputError
from reid.gallery.catalogue.catalogue import Catalogue, Pending
from reid.gallery.catalogue.postgresql import PostgreSQL
from reid.gallery.catalogue.thumbnails import Place
from reid.gallery.entries import Entry, Filter
from reid.gallery.parts import Layout, write_layout
from reid.gallery.store import Gallery
from reid.networks import Origin

ORIGIN = Origin("run", 4, "0" * 64, "none")


@pytest.fixture
def location(postgresql):
    postgresql.clear()
    return postgresql.location()


@pytest.fixture
def writers(location):
    """Three that have one catalogue, as where nobody takes turns."""
    some = [Catalogue.make(PostgreSQL(location, 1, make=True), ORIGIN, 1)]
    some += [Catalogue(PostgreSQL(location, number), number) for number in (2, 3)]
    yield some
    for each in some:
        each.db.close()


def begin(catalogue, *names, day=3):
    """An adding up to where the vectors are written."""
    return catalogue.begin_adding(
        [Entry(f"/{name}.jpg", f"camera {name}", name, added=86400.0 * day) for name in names]
    )


def finish(catalogue, adding, size=10):
    count = len(adding.entries)
    places = [Place(adding.pack, adding.start + size * place, size) for place in range(count)]
    catalogue.finish_adding(adding, [bytes(size)] * count, places)


def test_names_found_unused_meanwhile_are_put_back(writers):
    one, two, _ = writers
    begun = begin(one, "A", "B")
    two.scrub([])
    assert two.db.run("SELECT count(*) FROM names") == [(0,)]
    finish(one, begun)
    assert two.get([1, 2]) == begun.entries
    assert [entry.id for entry in two.find(Filter(identities=("B",)))] == [2]
    assert two.rows([1, 2]).tobytes() == begun.rows.tobytes()


def test_names_given_anew_meanwhile_are_no_others(writers):
    one, two, three = writers
    begun = begin(one, "A", "B")
    two.scrub([])
    finish(three, begin(three, "B", "C"))
    with pytest.raises(InputError, match="a name was erased and given anew meanwhile: add these once more"):
        finish(one, begun)
    assert [entry.identity for entry in two.find()] == ["B", "C"]
    begun = begin(one, "A", "B")
    finish(one, begun)
    assert [entry.identity for entry in two.find()] == ["B", "C", "A", "B"]


def test_what_is_under_way_is_the_dead_ones_alone(writers, postgresql):
    one, two, three = writers
    finish(one, begin(one, "A", "B", "C"))
    begin(one, "D")
    two.begin_removing([2])
    two.begin_changing({3: {"identity": "X"}})
    three.begin_changing({3: {"identity": "Y"}})
    three.settle([3])
    assert three.left()[1] == []
    assert two.is_pending(np.array([1, 2, 3, 4])).tolist() == [False, True, False, True]
    two.db.close()
    while postgresql.clients() > 2:
        pass
    writers, left = three.left()
    assert sorted(left) == [Pending("change", 3, 3, 0, 0, 0), Pending("remove", 2, 2, 1, 10, 10)]
    three.settle(writers)
    assert three.left()[1] == []
    assert one.left()[1] == [Pending("add", 4, 4, 1, 30, 0)]
    assert three.unfinished() == ["unfinished: 1 to add; goes on when the gallery is next written to"]


def test_nothing_is_said_of_what_another_erases_meanwhile(writers, postgresql, monkeypatch):
    one, two, _ = writers
    finish(one, begin(one, "A", "B"))
    erasing, places = threading.Thread(target=two.begin_removing, args=[[1]]), one.places

    def slow(ids):
        found = places(ids)
        erasing.start()
        while erasing.is_alive() and not postgresql.run("SELECT 1 FROM pg_locks WHERE NOT granted"):
            pass
        return found

    monkeypatch.setattr(one, "places", slow)
    one.decide(1, 2, True)
    erasing.join()
    assert one.decisions() == {}
    assert [entry.id for entry in one.find()] == [2]


def test_who_was_taken_for_dead_adds_nothing(writers):
    one, two, _ = writers
    begun = begin(one, "A")
    two.settle([1])
    with pytest.raises(InputError, match="the connection was lost while these were added: add them again"):
        finish(one, begun)
    assert len(two) == 0
    assert one.left()[1] == [Pending("add", 1, 1, 1, 0, 0)]  # vectors that were written since are taken back


def test_a_pack_in_use_is_not_dropped(writers):
    one, two, _ = writers
    finish(one, begin(one, "A"))
    finish(two, begin(two, "B"))
    begun = begin(one, "C")
    assert (begun.pack, begun.start) == (1, 10)
    two.begin_removing([1, 2])
    dropped = []
    two.drop_packs([1], [2], dropped.extend)
    assert dropped == []
    two.drop_packs([1, 2], [2], dropped.extend)
    assert dropped == [2]
    finish(one, begun)
    assert two.places([3]) == [Place(1, 10, 10)]


def test_ids_of_several_parts(writers, monkeypatch):
    monkeypatch.setattr("reid.gallery.catalogue.postgresql.PART", 4)
    one, two, _ = writers
    for _ in range(4):
        finish(one, begin(one, "A", "B", "C"))
        finish(two, begin(two, "D"))
    assert one.ids().tolist() == list(range(1, 17))
    two.begin_removing([3, 4, 16])
    two.scrub([3, 4, 16])
    assert one.ids().tolist() == [1, 2, *range(5, 16)]


def drop_connections(server):
    server.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' "
        "AND pid <> pg_backend_pid()"
    )
    while server.clients():
        pass


def test_a_lost_connection_is_told_and_made_anew(location, postgresql, tmp_path, monkeypatch):
    with Gallery.create(tmp_path / "g", ORIGIN, Layout(location)) as gallery:
        some = [Entry("/a", "c", "A")], np.ones((1, 4)), [b"\xff\xd8\xffsecret"]
        gallery.add(*some)
        drop_connections(postgresql)
        with pytest.raises(InputError, match="terminating connection due to administrator command"):
            gallery.find()
        assert len(gallery.find()) == 1
        add = gallery._vectors.add

        def lost(*values):
            add(*values)
            drop_connections(postgresql)

        with monkeypatch.context() as patch:
            patch.setattr(gallery._vectors, "add", lost)
            with pytest.raises(InputError, match="terminating connection"):
                gallery.add(*some)
        assert gallery.search(np.ones((1, 4)), 3).ids.tolist() == [[1, -1, -1]]
        assert gallery.verify() == []
        assert gallery.add(*some) == [3]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("postgresql://h/x?colour=1", "is no location of a database: invalid URI query parameter"),
        ("postgresql://nobody@/x?host=/nowhere", "connection to server .* failed"),
        ("postgresql://h:port/x", "postgresql://h:port/x: "),
        ("postgresql://h@[::1/x", "is no location of a database: "),
    ],
)
def test_a_location_that_is_none_is_told(tmp_path, location, message):
    with pytest.raises(InputError, match=message):
        Gallery.create(tmp_path / "g", ORIGIN, Layout(location))


def test_tables_that_are_not_there_are_told(location, tmp_path, postgresql):
    Gallery.create(tmp_path / "g", ORIGIN, Layout(location)).close()
    postgresql.clear()
    with pytest.raises(InputError, match="holds no gallery"):
        Gallery.open(tmp_path / "g")


def test_who_does_not_own_the_tables_is_told_that_he_cannot_erase(location, tmp_path, postgresql):
    role, schema = "DROP ROLE IF EXISTS other", location.rpartition("%3D")[2]
    postgresql.run(role, "CREATE ROLE other LOGIN", f"GRANT USAGE ON SCHEMA {schema} TO other")
    with Gallery.create(tmp_path / "g", ORIGIN, Layout(location)) as gallery:
        gallery.add([Entry(f"/{name}", "c") for name in ("secret", "b")], np.ones((2, 4)), [b""] * 2)
        postgresql.run(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO other")
        write_layout(tmp_path / "g", Layout(location.replace("gallery@", "other@")))
        with Gallery.open(tmp_path / "g") as other, pytest.raises(InputError, match="only its owner can write table"):
            other.remove([1])
        while postgresql.clients() > 1:
            pass
        assert b"secret" in postgresql.tables()
        gallery.set("any", "thing")
        assert b"secret" not in postgresql.tables() and gallery.verify() == []
    postgresql.clear()
    postgresql.run(role)


def test_a_text_too_long_for_the_server_is_told(location, tmp_path):
    with Gallery.create(tmp_path / "g", ORIGIN, Layout(location)) as gallery:
        name = np.random.default_rng(0).bytes(4000).hex()
        with pytest.raises(InputError, match="index row size"):
            gallery.add([Entry("/a", "c", name)], np.ones((1, 4)), [b""])
        assert gallery.add([Entry("/a", "c")], np.ones((1, 4)), [b""]) == [2]
        assert gallery.verify() == []


def test_its_statistics_hold_no_text(location, tmp_path, postgresql):
    """They are samples of what columns held, and stay as entries go."""
    with Gallery.create(tmp_path / "g", ORIGIN, Layout(location)) as gallery:
        entries = [Entry(f"/f{n}/n{n}", f"c{n % 3}", f"Person {n}") for n in range(300)]
        gallery.add(entries, np.ones((300, 4)), [b""] * 300)
        gallery.set("calibration", "a text")
        postgresql.run("ANALYZE")
        held = postgresql.run("SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE tablename ~ "
                              "'^(entries|names|settings|erasures)' AND schemaname LIKE 'place%'")  # fmt: skip
        assert held
        text = str(held)
        assert not [word for word in ("Person", "/f1", "n17", "a text") if word in text]


@pytest.mark.usefixtures("postgresql")
def test_a_server_that_does_not_start_is_told_with_what_it_said(monkeypatch):
    """Of the tests' own; else each would wait for it."""
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match='(?s)does not start: .*"none"'):
        patch.setitem(postgresql_server.SETTINGS, "shared_buffers", "none")
        with postgresql_server.serving():
            pass
    monkeypatch.setattr(postgresql_server, "STARTING", 0.0)
    monkeypatch.setattr(postgresql_server, "_answers", lambda address: False)
    with pytest.raises(RuntimeError, match="does not start: "), postgresql_server.serving():
        pass

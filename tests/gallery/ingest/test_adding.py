import io
import shutil

import numpy as np
import pytest
from fakes import NOTHING, ORIGIN, Blind, Counting, MeanColours, paint
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reid.gallery.entries import Entry
from reid.gallery.ingest import adding
from reid.gallery.ingest.adding import Intake
from reid.gallery.ingest.images import csv_entries, folder_entries
from reid.gallery.store import Gallery


def test_a_link_that_goes_round_is_left_out_and_named(folder, tmp_path, gallery):
    (tmp_path / "round.png").symlink_to("round.png")
    (tmp_path / "people.csv").write_text("path,camera\nround.png,door\ncrops/a.png,door\n")
    added = Intake(gallery).images(csv_entries(tmp_path / "people.csv"), MeanColours(), progress=False)
    assert len(added.ids) == 1 and "round.png: not a readable image" in added.problems[0]


def test_images_are_embedded_and_stored_with_thumbnails_once(folder, gallery):
    entries = folder_entries(folder, "door")
    added = Intake(gallery).images([*entries, entries[0]], MeanColours(), progress=False)
    assert (added.ids, added.known, added.problems) == ([1, 2, 3], 1, [])
    assert np.allclose(gallery.features([1])[0], np.array([0, 0, 1, 1]) / np.sqrt(2))
    assert Image.open(io.BytesIO(gallery.thumbnails([1])[0])).format == "JPEG"
    again = Intake(gallery).images(entries, MeanColours(), progress=False)
    assert (again.ids, again.known, len(gallery)) == ([], 3, 3)


def test_an_unreadable_image_is_named_and_the_others_are_stored(folder, gallery):
    (folder / "bad.png").write_bytes(b"no image")
    outside = Entry(str(folder / "a.png"), "door", box=(0, 0, 49, 96))
    added = Intake(gallery).images([*folder_entries(folder, "door"), outside], MeanColours(), progress=False)
    assert len(added.ids) == 3
    assert "bad.png: not a readable image" in added.problems[0]
    assert "box (0, 0, 49, 96) lies outside its 48 x 96 pixels" in added.problems[1]


def test_fragments_are_stored_as_they_come_once(gallery):
    fragments = [(Entry("v.mp4", "door", frame=n, box=(0, 0, n, n)), np.full(4, n, np.float32), b"") for n in (1, 2)]

    def broken():
        yield fragments[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Intake(gallery).fragments(broken())
    assert len(gallery) == 1
    added = Intake(gallery).fragments(iter(fragments))
    assert (added.ids, added.known, len(gallery)) == ([2], 1, 2)
    log = gallery.catalogue.log()  # of each commit, so that what an interruption leaves there is on record
    assert [(line["who"], line["action"], line["entries"]) for line in log] == [("python", "add", [n]) for n in (1, 2)]


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_crop_without_a_feature_is_named_and_the_others_are_stored(folder, gallery, nothing):
    paint(folder / "ab.png", "black")
    boxed = Entry(str(folder / "ab.png"), "door", box=(1, 2, 30, 40))
    entries = [*folder_entries(folder, "door"), boxed]
    added = Intake(gallery).images(entries, Blind(nothing), progress=False)
    why = "the network finds nothing to compare in it: its feature is all zeros, or no number"
    assert [entry.source for entry in gallery.find()] == [
        str(folder / name) for name in ("a.png", "b.png", "below/c.png")
    ]
    assert added.problems == [f"{folder}/ab.png: {why}", f"{folder}/ab.png, box (1, 2, 30, 40): {why}"]
    expected = MeanColours().embed([np.asarray(Image.open(folder / "b.png"))])[0]
    assert np.allclose(gallery.features([2])[0], expected / np.linalg.norm(expected))
    assert Image.open(io.BytesIO(gallery.thumbnails([2])[0])).convert("RGB").getpixel((0, 0))[0] > 250
    again = Intake(gallery).images(entries, Blind(nothing), progress=False)
    assert (again.ids, again.known, len(again.problems)) == ([], 3, 2)


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_batch_of_nothing_stores_nothing(tmp_path, gallery, nothing):
    paint(tmp_path / "a.png", "black")
    added = Intake(gallery).images(folder_entries(tmp_path, "door"), Blind(nothing), progress=False)
    assert (added.ids, len(added.problems), len(gallery)) == ([], 1, 0)


def test_a_fragment_without_a_feature_is_named(gallery):
    rows = [np.ones(4), np.zeros(4), np.full(4, np.nan), np.ones(4)]
    fragments = [(Entry("v.mp4", "door", frame=n, box=(0, 0, 5, 9)), row, b"") for n, row in enumerate(rows)]
    added = Intake(gallery).fragments(fragments)
    assert [entry.frame for entry in gallery.find()] == [0, 3]
    assert [line.partition(": ")[0] for line in added.problems] == [
        f"v.mp4, frame {n}, box (0, 0, 5, 9)" for n in (1, 2)
    ]


def test_what_is_given_otherwise_for_an_image_that_is_there_is_told(folder, gallery):
    plain = folder_entries(folder, "door")
    Intake(gallery).images(plain, MeanColours(), progress=False)
    gallery.update({2: {"identity": "P2"}})
    assert Intake(gallery).images(plain, MeanColours(), progress=False).differences == []  # a folder names nobody
    first, second, third = plain
    given = [
        Entry(first.source, "door", "P1", 1772442000.0),
        Entry(second.source, "hall"),
        Entry(third.source, "door"),
        Entry(third.source, "yard"),
    ]
    added = Intake(gallery).images(given, MeanColours(), progress=False)
    assert (added.ids, added.known) == ([], 4)
    assert added.differences == [
        f"{first.source} (entry 1): identity: nothing is stored, 'P1' was given",
        f"{first.source} (entry 1): time: nothing is stored, 2026-03-02T09:00:00+00:00 was given",
        f"{second.source} (entry 2): camera: 'door' is stored, 'hall' was given",
        f"{second.source} (entry 2): identity: 'P2' is stored, nothing was given",
        f"{third.source} (entry 3): camera: 'door' is stored, 'yard' was given",
    ]
    assert gallery.get([1])[0].identity is None


def test_two_rows_of_one_image_that_differ_are_told(folder, gallery):
    rows = [Entry(str(folder / "a.png"), camera) for camera in ("door", "hall")]
    added = Intake(gallery).images(rows, MeanColours(), progress=False)
    assert added.differences == [f"{folder}/a.png (given twice): camera: 'door' is stored, 'hall' was given"]
    assert [entry.camera for entry in gallery.find()] == ["door"]


def test_a_fragment_given_with_another_start_is_told(gallery):
    old, new = (Entry("v.mp4", "door", time=time, frame=1, box=(0, 0, 5, 9)) for time in (0.0, 1772442000.0))
    Intake(gallery).fragments([(old, np.ones(4), b"")])
    gallery.update({1: {"identity": "P1"}})
    added = Intake(gallery).fragments([(new, np.ones(4), b"")])
    stored = "1970-01-01T00:00:00+00:00 is stored, 2026-03-02T09:00:00+00:00 was given"
    assert added.differences == [f"v.mp4, frame 1, box (0, 0, 5, 9) (entry 1): time: {stored}"]


# --- copies -----------------------------------------------------------------------------------------------------------


def test_a_copy_of_a_picture_is_passed_over_before_it_is_embedded(folder, gallery):
    Intake(gallery).images(folder_entries(folder, "door"), MeanColours(), progress=False)
    for name, other in (("copy.png", "b.png"), ("below/again.png", "b.png")):
        shutil.copy(folder / other, folder / name)
    paint(folder / "new.png", "white")
    shutil.copy(folder / "new.png", folder / "twice.png")
    model = Counting()
    added = Intake(gallery).images(folder_entries(folder, "door", "P1"), model, progress=False)
    assert (len(added.ids), added.known, model.seen, len(gallery)) == (1, 3, 1, 4)
    same = f"the same picture as entry 2, {folder}/b.png"
    assert added.repeated == [
        f"{folder}/below/again.png: {same}",
        f"{folder}/copy.png: {same}",
        f"{folder}/twice.png: the same picture as {folder}/new.png",
    ]
    assert f"{folder}/copy.png (entry 2): identity: nothing is stored, 'P1' was given" in added.differences


@pytest.mark.parametrize(
    ("camera", "time", "stored"),
    [("door", 5.0, 1), ("door", None, 1), ("hall", 5.0, 2), ("hall", None, 2), ("door", 6.0, 2)],
)
def test_the_same_picture_by_another_camera_or_at_another_time_is_another_sighting(
    folder, gallery, camera, time, stored
):
    shutil.copy(folder / "a.png", folder / "b.png")
    first = Entry(str(folder / "a.png"), "door", time=5.0)
    Intake(gallery).images([first], MeanColours(), progress=False)
    added = Intake(gallery).images([Entry(str(folder / "b.png"), camera, time=time)], MeanColours(), progress=False)
    assert len(gallery) == stored and len(added.repeated) == 2 - stored


def test_of_unknown_time_is_the_picture_of_any(folder, gallery):
    shutil.copy(folder / "a.png", folder / "b.png")
    Intake(gallery).images([Entry(str(folder / "a.png"), "door")], MeanColours(), progress=False)
    later = Entry(str(folder / "b.png"), "door", time=1772442000.0)
    added = Intake(gallery).images([later], MeanColours(), progress=False)
    assert len(added.repeated) == 1 and len(gallery) == 1
    told = "time: nothing is stored, 2026-03-02T09:00:00+00:00 was given"
    assert added.differences == [f"{folder}/b.png (entry 1): {told}"]


def test_fragments_of_a_copied_video_are_the_same(gallery):
    rows = [
        [(Entry(name, "door", time=float(n), frame=n), np.ones(4), b"\xff\xd8\xff%d" % (n // 2)) for n in range(4)]
        for name in ("v.mp4", "w.mp4")
    ]
    assert len(Intake(gallery).fragments(rows[0]).ids) == 4  # two by two the same picture, at other times
    added = Intake(gallery).fragments(rows[1])
    assert (added.ids, len(added.repeated)) == ([], 4)
    assert added.repeated[1] == "w.mp4, frame 1: the same picture as entry 2, v.mp4, frame 1"


# --- what was erased --------------------------------------------------------------------------------------------------


def test_what_was_erased_stays_erased_unless_it_is_asked_for(folder, gallery):
    entries = folder_entries(folder, "door")
    Intake(gallery).images(entries, MeanColours(), progress=False)
    gallery.remove([2])
    model = Counting()
    added = Intake(gallery).images(entries, model, progress=False)
    assert (added.ids, added.known, added.erased, model.seen) == ([], 2, [f"{folder}/b.png"], 0)
    again = Intake(gallery, again=True).images(entries, model, progress=False)
    assert (again.ids, again.known, again.erased) == ([4], 2, [])
    gallery.remove([1])
    assert Intake(gallery).images(entries, model, progress=False).known == 2  # the mark of the second is gone
    assert sorted(entry.id for entry in gallery.find()) == [3, 4]


def test_a_copy_of_an_erased_picture_stays_out_too(folder, gallery):
    """It was passed over as the same picture before; and nobody who erases thinks of copies."""
    shutil.copy(folder / "a.png", folder / "z.png")
    entries, model = folder_entries(folder, "door"), Counting()
    assert len(Intake(gallery).images(entries, MeanColours(), progress=False).repeated) == 1
    gallery.remove([1])
    added = Intake(gallery).images(entries, model, progress=False)
    assert (added.ids, added.erased, model.seen) == ([], [f"{folder}/a.png", f"{folder}/z.png"], 0)
    other = [Entry(str(folder / "z.png"), "hall", time=5.0)]
    assert Intake(gallery).images(other, model, progress=False).erased == [f"{folder}/z.png"]
    assert len(Intake(gallery, again=True).images(other, model, progress=False).ids) == 1
    copied = [Entry(str(folder / "a.png"), "yard", time=9.0, box=(0, 0, 48, 96))]
    assert len(Intake(gallery).images(copied, model, progress=False).ids) == 1  # asked for once, it is no more erased


def test_erased_fragments_stay_erased(gallery):
    fragments = [(Entry("v.mp4", "door", frame=n), np.ones(4), b"") for n in range(2)]
    Intake(gallery).fragments(fragments)
    gallery.remove([1])
    assert Intake(gallery).fragments(fragments).erased == ["v.mp4, frame 0"]
    assert Intake(gallery, again=True).fragments(fragments).ids == [3]


# --- how --------------------------------------------------------------------------------------------------------------


def test_fragments_are_committed_some_at_a_time_and_none_is_lost(gallery, monkeypatch):
    monkeypatch.setattr(adding, "TOGETHER", 3)
    sizes, real = [], gallery.add
    monkeypatch.setattr(gallery, "add", lambda *given: sizes.append(len(given[0])) or real(*given))

    def video():
        for n in range(8):
            yield Entry("v.mp4", "door", frame=n), np.ones(4), b""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Intake(gallery).fragments(video())
    assert sizes == [3, 3, 2] and [entry.frame for entry in gallery.find()] == list(range(8))


def test_the_gallery_is_not_read_as_a_whole(folder, gallery, monkeypatch):
    Intake(gallery).images(folder_entries(folder, "door"), MeanColours(), progress=False)
    gallery.add([Entry(f"/else/{n}.jpg", "hall") for n in range(50)], np.ones((50, 4)), [b""] * 50)
    asked, real = [], gallery.catalogue.present
    monkeypatch.setattr(gallery.catalogue, "present", lambda ids: asked.extend(ids) or real(ids))
    monkeypatch.delattr(Gallery, "find")
    Intake(gallery).images(folder_entries(folder, "door"), MeanColours(), progress=False)
    assert sorted(asked) == [1, 2, 3]


COLOURS = ("red", "green", "blue")
ROWS = st.tuples(st.integers(0, 5), st.sampled_from(["door", "hall"]), st.sampled_from([None, 1.0, 2.0]))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.lists(ROWS, max_size=6), st.booleans(), st.integers(0, 9)), max_size=4))
def test_what_is_put_in_agrees_with_plain_loops(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("loops")
    sources = [str(paint(folder / f"{n}.png", COLOURS[n % 3], (8, 16))) for n in range(6)]
    held, erased, shown = [], set(), set()  # (file, camera, time), files, pictures
    with Gallery.create(folder / "gallery", ORIGIN) as gallery:
        for rows, again, victim in steps:
            known = repeated = left = 0
            seen = {other[0] for other in held}  # a file is decided about once
            for row in rows:
                file, camera, time = row
                if file in seen:
                    known += 1
                elif file in erased and not again:
                    left += 1
                    continue
                elif any(
                    other[0] % 3 == file % 3 and other[1] == camera and (time in (None, other[2]) or other[2] is None)
                    for other in held
                ):
                    repeated += 1
                elif file % 3 in shown and not again:
                    left += 1
                else:
                    held.append(row)
                    erased.discard(file)
                    shown.discard(file % 3)
                seen.add(file)
            entries = [Entry(sources[file], camera, time=time) for file, camera, time in rows]
            added = Intake(gallery, again).images(entries, MeanColours(), progress=False)
            assert [(entry.source, entry.camera, entry.time) for entry in gallery.find()] == [
                (sources[file], camera, time) for file, camera, time in held
            ]
            assert (added.known, len(added.repeated), len(added.erased)) == (known, repeated, left)
            if victim < len(held):
                erased.add(held[victim][0])
                shown.add(held[victim][0] % 3)
                gallery.remove([gallery.find()[victim].id])
                del held[victim]

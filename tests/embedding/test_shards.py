"""Shards of crops: what is read from tar files and Parquet, and the file of features that each becomes."""

import io
import json
import os
import tarfile
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import Counting, MeanColours
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reid.embedding import shards
from reid.embedding.shard_contents import read_shard
from reid.embedding.shards import attempt, embed_shard, embed_shards, outputs_of, shards_of
from reid.errors import InputError
from reid.gallery.catalogue.thumbnails import thumbnail
from reid.gallery.ingest.adding import Intake
from reid.gallery.ingest.images import features_files, read_given
from reid.gallery.store import Gallery
from reid.networks import Origin
from reid.networks.features_file import read_features_file

COLOURS = [(40 * place, 10, 200) for place in range(6)]


def picture(colour, kind="PNG"):
    content = io.BytesIO()
    Image.new("RGB", (12, 24), colour).save(content, kind)
    return content.getvalue()


def tar(path, members):
    """Write a tar file of (name, bytes) in order."""
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def table(file, /, **columns):
    pq.write_table(pa.table(columns), file)
    return file


def colour_tar(path):
    return tar(path, [(f"{place}.png", picture(colour)) for place, colour in enumerate(COLOURS)])


def expected():
    return MeanColours().embed([np.full((24, 12, 3), colour, np.uint8) for colour in COLOURS])


# --- what is in them --------------------------------------------------------------------------------------------------


def test_a_tar_file_is_a_row_an_image_with_what_stands_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "AT_ONCE", 4)
    moment = {"camera": "hall", "identity": 7, "time": "2026-03-01T17:05Z", "caption": "of no use"}
    members = [(f"a/{place}.png", picture(colour)) for place, colour in enumerate(COLOURS)]
    members.insert(2, ("a/1.json", json.dumps(moment).encode()))
    members.insert(0, ("a/0.cls", b"3"))
    shard = tar(tmp_path / "s.tar", members)
    done = embed_shard(shard, tmp_path / "out" / "s.parquet", MeanColours())
    assert (done.rows, done.left_out, done.passed_over) == (6, (), False)
    file = read_features_file(tmp_path / "out" / "s.parquet")
    np.testing.assert_array_equal(file.features.features, expected())
    assert file.features.paths == tuple(f"{shard}/a/{place}.png" for place in range(6))
    assert file.cameras == ("", "hall", "", "", "", "") and file.identities == ("", "7", "", "", "", "")
    assert file.times[1] == datetime(2026, 3, 1, 17, 5, tzinfo=UTC).timestamp() and np.isnan(file.times[[0, 2]]).all()
    assert file.thumbnails == tuple(thumbnail(np.full((24, 12, 3), colour, np.uint8)) for colour in COLOURS)


def test_parquet_of_bytes_of_hugging_faces_images_and_of_paths_gives_the_same(tmp_path):
    contents = [picture(colour) for colour in COLOURS]
    for place, content in enumerate(contents):
        (tmp_path / f"{place}.png").write_bytes(content)
    names = [f"{place}.png" for place in range(6)]
    cameras = pa.array(["hall", None] * 3).dictionary_encode()
    about = {"camera": cameras, "identity": [1, None, 2, 2, 1, 1], "other": [[1]] * 6}
    times = pa.array([datetime(2026, 3, 1, hour) for hour in range(6)], pa.timestamp("us"))
    shards_ = [
        table(tmp_path / "bytes.parquet", image=contents, path=names, time=times, **about),
        table(tmp_path / "struct.parquet", image=[{"bytes": one, "path": "x"} for one in contents], **about),
        table(tmp_path / "paths.parquet", path=names, time=pa.array([f"2026-03-01T0{h}" for h in range(6)]), **about),
    ]
    for shard, source in zip(shards_, ("{}/{}.png", "{}/{:09d}", "{}/../{}.png"), strict=True):
        embed_shard(shard, tmp_path / "f.parquet", MeanColours())
        file = read_features_file(tmp_path / "f.parquet")
        np.testing.assert_array_equal(file.features.features, expected())
        assert file.features.paths == tuple(os.path.normpath(source.format(shard, place)) for place in range(6))
        assert file.cameras == ("hall", "") * 3 and file.identities == ("1", "", "2", "2", "1", "1")
        if "struct" not in shard.name:
            assert np.diff(file.times).tolist() == [3600.0] * 5


def test_names_that_lead_elsewhere_leave_no_trace(tmp_path):
    image = picture("red")
    out = tmp_path / "in" / "out"
    names = ["../../evil.png", "/etc/evil.png", "a/../../../evil.png", "./good.png", str(tmp_path / "evil.png")]
    shard = tar(tmp_path / "in.tar", [(name, image) for name in names])
    with tarfile.open(shard, "a") as archive:
        for kind, name in ((tarfile.SYMTYPE, "s.png"), (tarfile.LNKTYPE, "l.png"), (tarfile.FIFOTYPE, "f.png")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    done = embed_shard(shard, out / "in.parquet", MeanColours())
    sources = read_features_file(out / "in.parquet").features.paths
    assert sources == (f"{shard}/etc/evil.png", f"{shard}/good.png", f"{shard}{tmp_path}/evil.png")
    assert len(done.left_out) == 5 and sum("leads out of the shard" in line for line in done.left_out) == 2
    assert sum("is a link or no file" in line for line in done.left_out) == 3
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "in.parquet", "in.tar", "out"]


def test_what_cannot_be_read_is_listed_and_the_rest_is_kept(tmp_path):
    members = [("a.png", picture("red")), ("b.jpg", b"no picture"), ("a.png", picture("blue"))]
    members += [("c.jpg", picture("green", "JPEG")[:-40])]
    done = embed_shard(tar(tmp_path / "s.tar", members), tmp_path / "o.parquet", MeanColours())
    told = "\n".join(done.left_out)
    assert done.rows == 1 and len(done.left_out) == 3
    assert "s.tar/b.jpg: not a readable image" in told and "s.tar/c.jpg: not a readable image" in told
    assert "a.png: is in the shard twice" in told
    again = embed_shard(tmp_path / "s.tar", tmp_path / "o.parquet", MeanColours())
    assert again.passed_over and (again.rows, again.left_out) == (1, done.left_out)
    image, bad = picture("red"), b"no picture"
    shard = table(tmp_path / "p.parquet", image=[image, None, bad, image], path=["a", "b", "c", "../a"])
    done = embed_shard(shard, tmp_path / "o.parquet", MeanColours())
    assert done.rows == 1 and [line.split(": ")[1] for line in done.left_out] == [
        "row 1",
        "not a readable image",
        "'../a'",
    ]


def cut(content, share):
    return content[: int(len(content) * share)]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("s.tar", lambda content: content[: 512 * 5 + 100], "damaged or cut short"),
        ("s.tar", lambda content: content[: 1024 * 3], "no end of the archive behind its last member"),
        ("s.tar", lambda content: content[:1024] + b"\1" * 512 + content[1536:], "no end of the archive"),
        ("s.tar", lambda _: b"", "damaged or cut short"),
        ("s.tar", lambda _: bytes(10240), "holds no image"),
        ("p.parquet", lambda content: cut(content, 0.5), "cannot be read as Parquet"),
        ("p.parquet", lambda content: content[:20] + b"\xff" * 60 + content[80:], "cannot be read as Parquet"),
    ],
)
def test_a_damaged_shard_is_named_and_leaves_no_file(tmp_path, name, change, message):
    colour_tar(tmp_path / "s.tar")
    pq.write_table(pa.table({"image": [picture("red")] * 6}), tmp_path / "p.parquet", write_page_checksum=True)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    done = attempt(tmp_path / name, tmp_path / "out" / "o.parquet", MeanColours())
    assert done.rows == 0 and done.problem.startswith(f"{tmp_path / name}: ") and message in done.problem
    assert not (tmp_path / "out").exists()


def test_a_member_of_negative_size_does_not_lead_round_for_ever(tmp_path):
    member = tarfile.TarInfo("a.png")
    member.size = -1024
    (tmp_path / "s.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(InputError, match="s.tar: damaged or cut short"):
        list(read_shard(tmp_path / "s.tar"))


@pytest.mark.parametrize("name", ["hole.png", "good.json"])
def test_a_file_of_holes_takes_no_memory(tmp_path, name):
    """Of which a shard of some kilobytes may hold any number, each of as many bytes as it says."""
    hole = tarfile.TarInfo(name)
    hole.type, hole.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(hole.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (2**27, 0)  # a hole up to its end
    header[483:495] = b"%011o\0" % 2**27
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    shard = tar(tmp_path / "s.tar", [("good.png", picture("red"))])
    content = shard.read_bytes()[:1024]
    shard.write_bytes(content + bytes(header) * 3 + bytes(1024))
    with tarfile.open(shard) as archive:
        assert archive.getmembers()[1].size == 2**27 and archive.getmembers()[1].issparse()
    done = attempt(shard, tmp_path / "o.parquet", MeanColours())
    told = done.left_out if name == "hole.png" else [done.problem]
    assert done.rows == (name == "hole.png") and told[0].startswith(f"{shard}: {name!r}: has holes")


@given(st.data())
@settings(max_examples=60)
def test_any_damage_to_a_tar_file_is_told_or_changes_nothing_else(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    whole = colour_tar(folder / "s.tar").read_bytes()[: 512 * 14]  # without the padding behind the end
    where = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        damaged = whole[:where]
    else:
        damaged = whole[:where] + bytes([data.draw(st.integers(0, 255))]) + whole[where + 1 :]
    (folder / "s.tar").write_bytes(damaged)
    try:
        crops = list(read_shard(folder / "s.tar"))
    except InputError as error:
        assert str(error).startswith(str(folder / "s.tar"))
    else:
        assert len(crops) + (damaged[: 512 * 13] != whole[: 512 * 13]) >= len(COLOURS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"camera": ["a"]}, "has no column image"),
        ({"image": ["text"]}, "column image is"),
        ({"image": [b"x"], "left": [1]}, "column left: shards hold crops"),
        ({"image": [b"x"], "time": ["yesterday"]}, "row 0: time: 'yesterday'"),
        ({"image": [b"x"], "time": [1700000000000]}, "row 0: time"),
        ({"image": [b"x"], "time": pa.array([2**62], pa.timestamp("us"))}, "cannot be read as Parquet: date value out"),
        ({"image": [b"x"], "time": pa.array([-(2**62)], pa.timestamp("ms"))}, "cannot be read as Parquet: "),
        ({"image": [b"x"], "camera": ["nan"]}, "row 0"),
        ({"image": [b"x"], "camera": [[1]]}, "column camera is list"),
        ({"path": ["a.png"], "time": [True]}, "column time is bool"),
        ({"path": pa.array([], pa.string())}, "holds no image"),
    ],
)
def test_columns_that_say_something_else_are_named(tmp_path, columns, message):
    shard = table(tmp_path / "p.parquet", **columns)
    assert message in attempt(shard, tmp_path / "o.parquet", MeanColours()).problem


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        (b"{", "not readable JSON"),
        (b"[" * 100_000, "not readable JSON"),
        (b"[]", "expected a mapping"),
        (b'{"camera": [1]}', "expected a name"),
        (b'{"time": true}', "expected a time"),
        (b'{"identity": "NA"}', "identity"),
    ],
)
def test_what_stands_beside_an_image_and_cannot_be_meant_is_named(tmp_path, beside, message):
    shard = tar(tmp_path / "s.tar", [("a.png", picture("red")), ("a.json", beside)])
    problem = attempt(shard, tmp_path / "o.parquet", MeanColours()).problem
    assert message in problem and "a." in problem and problem.startswith(str(shard)) and problem.count(str(shard)) == 1
    far = tar(tmp_path / "f.tar", [("a.png", picture("red")), ("b.png", picture("red")), ("a.json", b"{}")])
    assert "no image stands beside it" in attempt(far, tmp_path / "o.parquet", MeanColours()).problem


class Unpickled(pa.ExtensionType):
    """A type that runs code when a value of it is looked at, as those of some packages do."""

    def __init__(self):
        super().__init__(pa.binary(), "test.unpickled")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized):
        return cls()

    def __arrow_ext_scalar_class__(self):
        raise AssertionError("a value was looked at")


def test_types_that_packages_register_are_not_looked_at(tmp_path):
    pa.register_extension_type(Unpickled())
    try:
        column = pa.ExtensionArray.from_storage(Unpickled(), pa.array([picture("red")]))
        inside = pa.StructArray.from_arrays([pa.array([picture("red")]), column], ["bytes", "path"])
        for place, image in enumerate((column, inside)):
            shard = table(tmp_path / f"{place}.parquet", image=image)
            assert "column image is" in attempt(shard, tmp_path / "o.parquet", MeanColours()).problem
        shard = table(tmp_path / "beside.parquet", image=[picture("red")], other=column)
        assert embed_shard(shard, tmp_path / "o.parquet", MeanColours()).rows == 1
    finally:
        pa.unregister_extension_type("test.unpickled")


# --- which, and what is done before -----------------------------------------------------------------------------------


def test_a_folder_stands_for_its_shards_and_names_must_differ(tmp_path):
    a, b = colour_tar(tmp_path / "a.tar"), table(tmp_path / "b.parquet", image=[picture("red")])
    (tmp_path / "other").mkdir()
    c = colour_tar(tmp_path / "other" / "a.tar")
    assert shards_of([str(tmp_path)]) == [a, b] and shards_of([str(c), str(a)]) == [c, a]
    assert outputs_of([a, b], tmp_path / "out") == [tmp_path / "out" / "a.parquet", tmp_path / "out" / "b.parquet"]
    for names, message in [
        ([str(a), str(a)], "named twice"),
        ([str(tmp_path / "none.tar")], "no such file"),
        ([str(tmp_path / "a.zip")], "expected a shard"),
        ([str(tmp_path / "none")], "expected a shard"),
    ]:
        with pytest.raises(InputError, match=message):
            shards_of(names)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no shard in it"):
        shards_of([str(tmp_path / "empty")])
    with pytest.raises(InputError, match="would be written to a.parquet, as .* is"):
        outputs_of([a, c], tmp_path / "out")
    with pytest.raises(InputError, match="shards lie in it"):
        outputs_of([a, c], tmp_path)


def test_what_is_there_and_valid_is_passed_over(tmp_path):
    a, b = colour_tar(tmp_path / "a.tar"), colour_tar(tmp_path / "b.tar")
    outputs = outputs_of([a, b], tmp_path / "out")
    network = Counting()
    assert [done.passed_over for done in embed_shards([a, b], outputs, network)] == [False, False]
    before = [output.read_bytes() for output in outputs]
    outputs[0].write_bytes(before[0][:-100])
    (tmp_path / "out" / ".a.parquet.partial-0123").write_bytes(b"of a writer that was killed")
    network.seen = 0
    assert [done.passed_over for done in embed_shards([a, b], outputs, network)] == [False, True]
    assert network.seen == 6 and [output.read_bytes() for output in outputs] == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.parquet", "b.parquet"]
    os.utime(b, ns=(1, 1))
    assert [done.passed_over for done in embed_shards([a, b], outputs, network)] == [True, False]
    network.origin = Origin("another", 4, "1" * 64, "other")
    assert [done.passed_over for done in embed_shards([a, b], outputs, network)] == [False, False]


def test_one_damaged_shard_does_not_keep_the_others(tmp_path):
    a, b = colour_tar(tmp_path / "a.tar"), colour_tar(tmp_path / "b.tar")
    a.write_bytes(a.read_bytes()[:2000])
    first, second = embed_shards([a, b], outputs_of([a, b], tmp_path / "out"), MeanColours())
    assert "a.tar: damaged or cut short" in first.problem and second.rows == 6
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot be written"):
        list(embed_shards([b], [tmp_path / "file" / "b.parquet"], MeanColours()))


def test_a_shard_without_a_feature_is_named(tmp_path):
    shard = tar(tmp_path / "s.tar", [("a.png", b"nothing")])
    problem = attempt(shard, tmp_path / "o.parquet", MeanColours()).problem
    assert "s.tar: no image has a feature" in problem and "a.png: not a readable image" in problem
    assert not (tmp_path / "o.parquet").exists()


# --- and into a gallery -----------------------------------------------------------------------------------------------


def test_a_gallery_takes_them_with_their_thumbnails_though_no_path_leads_to_the_image(tmp_path):
    shard = colour_tar(tmp_path / "s.tar")
    embed_shard(shard, tmp_path / "s.parquet", MeanColours())
    file, origin, entries = read_given(tmp_path / "s.parquet", "door", None)
    with Gallery.create(tmp_path / "g", origin) as gallery:
        added = Intake(gallery).features(entries, file.features.features, file.thumbnails, progress=False)
        assert len(added.ids) == 6 and not added.problems
        assert gallery.thumbnails(added.ids) == list(file.thumbnails)
        assert [entry.source for entry in gallery.find()] == [f"{shard}/{place}.png" for place in range(6)]


def test_a_folder_of_features_stands_for_its_files_and_each_must_be_of_one_network(tmp_path):
    a, b = colour_tar(tmp_path / "a.tar"), colour_tar(tmp_path / "b.tar")
    outputs = outputs_of([a, b], tmp_path / "out")
    list(embed_shards([a, b], outputs, MeanColours()))
    assert features_files([tmp_path / "out", tmp_path / "x.npz"]) == [*outputs, tmp_path / "x.npz"]
    (tmp_path / "shards").mkdir()
    with pytest.raises(InputError, match=r"shards: no \.parquet file in it"):
        features_files([tmp_path / "shards"])
    other = Origin("another", 4, "1" * 64, "other")
    with pytest.raises(InputError, match="b.parquet: .*cannot be compared"):
        read_given(outputs[1], "door", other)


def test_thumbnails_that_are_none_are_refused(tmp_path):
    embed_shard(colour_tar(tmp_path / "s.tar"), tmp_path / "s.parquet", MeanColours())
    content = pq.read_table(tmp_path / "s.parquet")
    place = content.column_names.index("thumbnail")
    for values in ([b"<script>"] * 6, [None] * 6):
        changed = content.set_column(place, "thumbnail", pa.array(values, pa.binary()))
        pq.write_table(changed, tmp_path / "x.parquet")
        with pytest.raises(InputError, match="thumbnail: expected a JPEG in every row"):
            read_features_file(tmp_path / "x.parquet")

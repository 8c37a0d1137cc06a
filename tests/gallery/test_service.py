"""What page, command line and Python ask of: answers, sightings, what is said, and a line in the audit log of each."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from small_gallery import COLOURS, ORIGIN, START, STRANGER, Colours, calibration, crop, lines, small_gallery

import reid.gallery.service as module
from reid.errors import InputError
from reid.gallery.answers import EMPTY, MISSED, OWN, SEVERAL
from reid.gallery.calibration.fitted import SENTENCE, Unlike
from reid.gallery.calibration.judgement import Judge, compare
from reid.gallery.entries import EVERYTHING, Entry, Filter, Hits, NotThere, Unfit
from reid.gallery.service import DAY, RETENTION, Service, check_days
from reid.gallery.store import Gallery
from reid.gallery.transfer.parquet import opened
from reid.retrieval.unit import unit_rows


@pytest.fixture
def service(tmp_path):
    with small_gallery(tmp_path, calibrated=True) as gallery:
        yield Service(gallery, "page", Colours())


@pytest.fixture
def bare(tmp_path):
    """Without a calibration, and without a network."""
    with small_gallery(tmp_path) as gallery:
        yield Service(gallery, "page")


def ids(answer):
    return [hit.entry.id for hit in answer.hits]


def red(service, brighter=0):
    return service.features([crop(COLOURS["P1"], brighter)])


def expected(gallery, query, k, wanted=EVERYTHING, without=()):
    """Every entry compared, in float64: [(id, distance)]."""
    entries = [entry for entry in gallery.find(wanted) if entry.id not in without]
    rows = gallery.features([entry.id for entry in entries]).astype(float)
    distances = (1 - rows @ np.asarray(query, float)).clip(0, 2)
    return sorted(zip(distances.tolist(), (entry.id for entry in entries), strict=True))[:k]


# --- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_ranks_and_judges(service):
    answer = service.search(red(service), k=5)
    wanted = expected(service.gallery, red(service)[0], 5)
    assert [hit.rank for hit in answer.hits] == [1, 2, 3, 4, 5]
    assert [hit.distance for hit in answer.hits] == pytest.approx([distance for distance, _ in wanted], abs=1e-7)
    assert ids(answer)[:2] == [1, 2] and answer.found == "near" and answer.nobody is False and answer.exhaustive
    judge = Judge(calibration(), 12)
    assert [hit.judged for hit in answer.hits] == [judge.judge(hit.distance) for hit in answer.hits]
    assert answer.sentences == judge.sentences_of([hit.judged.word for hit in answer.hits])
    assert answer.sentences[0] == "2 near, 0 cannot be told, 3 far."


def test_the_gallery_that_is_judged_is_what_the_filter_lets_through(service):
    """Six entries instead of twelve; in them alone each has a name."""
    named = Filter(cameras=("hall/1",), identities=tuple(name for name in COLOURS if name))
    answer = service.search(red(service), wanted=named)
    judge = Judge(calibration(), 5, 5)
    assert (
        ids(answer) == [id for _, id in expected(service.gallery, red(service)[0], 24, named)] and len(ids(answer)) == 5
    )
    assert [hit.judged for hit in answer.hits] == [judge.judge(hit.distance) for hit in answer.hits]
    assert answer.hits[0].judged.probability > 0.8 and "each of the 5 people" in answer.sentences[3]
    none = service.search(red(service), wanted=Filter(cameras=("nowhere",)))
    assert none.hits == () and none.found is none.nobody is None and none.sentences == (EMPTY,)


def test_words_become_unsure_with_the_distance(service):
    words = [service.search(red(service, brighter)).found for brighter in (0, 40, 90)]
    assert words == ["near", "cannot tell", "far"]
    stranger = service.search(service.features([crop(STRANGER)]))
    assert stranger.nobody is True and stranger.sentences[0] == "Nobody: none is nearer than far."


def test_a_larger_share_of_strangers_calls_more_near(service):
    query = red(service, 20)
    assert [hit.judged.word for hit in service.search(query, k=2).hits] == ["near", "cannot tell"]
    assert [hit.judged.word for hit in service.search(query, k=2, share=0.2).hits] == ["near", "near"]
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match="share .*: wanted a number between 0 and 1"):
            service.search(query, share=share)


def test_without_a_calibration_there_are_distances_only(bare):
    answer = bare.search(bare.gallery.features([3]))
    assert answer.found is None and answer.nobody is None and answer.sentences == ()
    assert {hit.judged for hit in answer.hits} == {None} and ids(answer)[0] == 3
    assert bare.compare(*bare.gallery.features([1, 2])) == (pytest.approx(0.0034, abs=1e-3), None)
    with pytest.raises(Unfit, match="has no calibration, so that no share"):
        bare.search(bare.gallery.features([3]), share=0.1)
    with pytest.raises(Unfit, match="was opened without a network"):
        bare.features([crop(COLOURS["P1"])])
    assert bare.search(bare.features([]), [3], k=1).hits[0].entry.id == 4  # entries need none
    assert bare.search(bare.features([]), [3, 4], k=1).sentences == ()


def test_a_calibration_that_is_given_goes_before_the_kept_one(tmp_path):
    with small_gallery(tmp_path, calibrated=True) as gallery:
        other = calibration("elsewhere")
        assert Service(gallery, "page").calibration == calibration()
        answer = Service(gallery, "page", given=other).search(gallery.features([1]))
        assert "people of elsewhere" in answer.sentences[-1]
        with pytest.raises(InputError, match="calibrate that model"):
            Service(gallery, "page", given=replace(other, fingerprint="0" * 64))

        class Other(Colours):
            origin = replace(ORIGIN, network="other")

        with pytest.raises(InputError, match="cannot be compared"):
            Service(gallery, "page", Other())


@pytest.mark.parametrize("entries", [[5], [5, 6], [5, 1, 9]])
def test_entries_are_left_out_of_their_own_answer_and_of_what_is_said_of_it(service, entries):
    answer = service.search(service.features([]), entries, k=4)
    rows = service.gallery.features(entries).astype(float)
    mean = unit_rows(rows, 4, "rows").mean(axis=0)
    wanted = expected(service.gallery, mean / np.linalg.norm(mean), 4, without=entries)
    assert [hit.distance for hit in answer.hits] == pytest.approx([distance for distance, _ in wanted], abs=1e-6)
    assert not set(ids(answer)) & set(entries) and [hit.rank for hit in answer.hits] == [1, 2, 3, 4]
    words = [hit.judged.word for hit in answer.hits]
    counts = f"{words.count('near')} near, {words.count('cannot tell')} cannot be told, {words.count('far')} far."
    assert answer.sentences[0].removesuffix(f" {SEVERAL}") == (
        counts if answer.found != "far" else "Nobody: none is nearer than far."
    )


def test_several_crops_and_entries_are_one_person(service):
    """Their mean, each of length 1 before, is what is looked for."""
    crops = [crop(COLOURS["P1"], 30), crop(COLOURS["P1"], -20)]
    answer = service.search(service.features(crops), [2], k=3)
    mean = np.concatenate([service.features(crops), service.gallery.features([2])]).astype(float).mean(axis=0)
    wanted = expected(service.gallery, mean / np.linalg.norm(mean), 3, without=[2])
    assert ids(answer) == [id for _, id in wanted] and ids(answer)[0] == 1
    assert [hit.distance for hit in answer.hits] == pytest.approx([distance for distance, _ in wanted], abs=1e-6)
    assert lines(service.gallery)[-1] == ("page", "search", ids(answer), {"k": 3, "query": 2, "queries": 3})
    assert answer.sentences[0].endswith(f"far. {SEVERAL}")
    assert SEVERAL not in service.search(service.features(crops[:1])).sentences[0]
    with pytest.raises(Unfit, match="expected images or entries"):
        service.search(service.features([]))


def test_elsewhere_leaves_the_cameras_of_the_entries_out(service):
    answer = service.search(service.features([]), [1], elsewhere=True)
    assert {hit.entry.camera for hit in answer.hits} == {"hall/1"} and ids(answer)[0] == 2
    assert service.search(service.features([]), [1, 2], elsewhere=True).hits == ()
    both = service.search(service.features([]), [1], wanted=Filter(without=("hall/1",)), elsewhere=True)
    assert both.hits == ()


def test_many_queries_have_an_answer_each_in_one_line(service):
    queries = service.features([crop(COLOURS["P2"]), crop(STRANGER), crop(COLOURS["P4"])])
    answers = service.answers(queries, k=2)
    assert [answer.found for answer in answers] == ["near", "far", "near"]
    assert len({answer.number for answer in answers}) == 1
    listed = sorted({id for answer in answers for id in ids(answer)})
    assert lines(service.gallery) == [("page", "search", listed, {"queries": 3})]


@pytest.mark.parametrize("nothing", [0.0, np.nan, np.inf])
def test_a_crop_in_which_nothing_is_found_is_named(service, monkeypatch, nothing):
    monkeypatch.setattr(Colours, "embed", lambda self, images: np.full((len(images), 4), nothing, np.float32))
    with pytest.raises(Unfit, match="nothing to compare in this picture"):
        service.features([crop(COLOURS["P1"])])
    with pytest.raises(Unfit, match="nothing to compare in picture 1"):
        service.features([crop(COLOURS["P1"])] * 2)


def test_what_is_erased_meanwhile_is_left_out(service, monkeypatch):
    gallery, search = service.gallery, service.gallery.search

    def erasing(*asked):
        found = search(*asked)
        gallery.remove([id for id in (2, 7) if gallery.catalogue.present([id])])
        return found

    monkeypatch.setattr(gallery, "search", erasing)
    answer = service.search(service.features([]), [1])
    assert len(ids(answer)) == 9 and not {2, 7} & set(ids(answer))
    assert [hit.rank for hit in answer.hits] == list(range(1, 10))
    with pytest.raises(NotThere, match="no entry 2"):
        service.search(service.features([]), [2])


def missing(gallery, monkeypatch, lost):
    """Let the index miss some entries; returns whether each search was exact."""
    search, asked = gallery.search, []

    def approximate(queries, k, wanted=EVERYTHING, exact=False):
        asked.append(exact)
        hits = search(queries, k, wanted)
        if exact:
            return hits
        kept = [[id for id in row if id not in lost] + [-1] * len(set(lost) & set(row)) for row in hits.ids.tolist()]
        order = np.array(kept)
        far = np.where(order >= 0, 1.5, np.nan)
        return Hits(order, far, exhaustive=False)

    monkeypatch.setattr(gallery, "search", approximate)
    return asked


@pytest.mark.parametrize("entries", [[], [2]])
def test_nobody_is_confirmed_by_comparing_all(service, monkeypatch, entries):
    query = red(service)
    asked = missing(service.gallery, monkeypatch, lost=[1, 2])
    answer = service.search(query, entries, k=2)
    assert asked == [False, True] and ids(answer)[0] == 1 and answer.found == "near" and answer.exhaustive
    strangers = service.answers(np.concatenate([service.features([crop(STRANGER)]), query]), k=2)
    assert [answer.nobody for answer in strangers] == [True, False]


def test_where_all_cannot_be_compared_nobody_is_not_said(service, monkeypatch):
    asked = missing(service.gallery, monkeypatch, lost=[1, 2])
    monkeypatch.setattr(module, "CONFIRMED", 11)
    answer = service.search(red(service))
    assert asked == [False] and answer.found == "far" and answer.nobody is False and not answer.exhaustive
    assert answer.sentences[0] == MISSED and not any("Nobody" in sentence for sentence in answer.sentences)


def test_two_images_are_compared(service):
    first, second, other = service.gallery.features([1, 2, 3])
    distance, said = service.compare(first, second, [1, 2])
    assert distance == pytest.approx(1 - first.astype(float) @ second, abs=1e-7) and said == compare(
        calibration(), distance
    )
    assert service.compare(first, other)[1].word == "far"
    assert lines(service.gallery) == [("page", "compare", [1, 2], {}), ("page", "compare", [], {})]


def test_a_query_that_shows_no_person_is_told_and_none_is_called_found(service, monkeypatch):
    """The direction lies among the features: beyond it is what is blue."""
    cut = Unlike((0.0, 0.0, 1.0, 0.0), 0.5, 0.01, 0.01, 0.9)
    service.given = replace(calibration(), unlike=cut)
    blue, other = service.features([crop(COLOURS["P3"]), crop(COLOURS["P1"])])
    assert cut.says(np.array([blue, other])).tolist() == [True, False]
    strange, usual = service.answers(np.array([blue, other]), k=3)
    assert strange.sentences[0] == SENTENCE and strange.sentences[1] == "2 near, 0 cannot be told, 1 far."
    assert strange.found == "cannot tell" and strange.nobody is False
    assert usual.found == "near" and SENTENCE not in usual.sentences
    said = service.compare(blue, blue)[1]
    assert said.word == "cannot tell" and said.sentences == (SENTENCE, *compare(calibration(), 0.0).sentences)
    assert (
        service.compare(other, other)[1] == compare(calibration(), 0.0)
        and service.compare(blue, other)[1].word == "far"
    )


def test_images_of_the_querys_own_camera_get_no_percentage(service):
    """Calibrated are pairs of two cameras, and what a camera sees behind people is alike."""
    named = Filter(identities=tuple(name for name in COLOURS if name))

    def told(answer):
        return {hit.entry.camera: hit.judged.probability is not None for hit in answer.hits}

    answer = service.search(service.features([]), [1], wanted=named)
    assert told(answer) == {"hall/0": False, "hall/1": True} and answer.sentences[-1] == OWN
    uploaded = service.search(red(service), wanted=named)
    assert told(uploaded) == {"hall/0": True, "hall/1": True} and OWN not in uploaded.sentences
    of_camera, unknown = service.answers(np.repeat(red(service), 2, axis=0), wanted=named, cameras=["hall/1", ""])
    assert told(of_camera) == {"hall/0": True, "hall/1": False} and of_camera.sentences[-1] == OWN
    assert unknown == replace(uploaded, number=unknown.number)
    assert [hit.judged.word for hit in of_camera.hits] == [hit.judged.word for hit in uploaded.hits]
    everywhere = service.search(service.features([]), [1], elsewhere=True, wanted=named)
    assert told(everywhere) == {"hall/1": True} and OWN not in everywhere.sentences


def test_what_people_decide_is_kept_shown_and_counted(service):
    service.decide(1, 2, True)
    service.decide(5, 1, False)
    answer = service.search(service.features([]), [1])
    said = {hit.entry.id: hit.decided for hit in answer.hits}
    assert said == {**dict.fromkeys(range(2, 13)), 2: True, 5: False}
    assert {hit.decided for hit in service.search(service.features([]), [1, 3]).hits} == {None}
    word = compare(calibration(), service.search(service.features([]), [1], k=1).hits[0].distance).word
    assert service.decided() == {word: (1, 1), "far": (1, 0)}
    service.decide(2, 1, None)
    assert service.decided() == {"far": (1, 0)}
    service.forget([5])
    assert service.decided() == {}
    with pytest.raises(NotThere, match="no entry 5"):
        service.decide(1, 5, True)


# --- changing ---------------------------------------------------------------------------------------------------------


def test_each_thing_that_is_done_leaves_exactly_its_line(service, tmp_path, monkeypatch):
    gallery = service.gallery

    def line(done, *expected):
        before = len(lines(gallery))
        done()
        assert lines(gallery)[before:] == list(expected)

    query = red(service)
    line(lambda: service.search(query, k=2), ("page", "search", [1, 2], {"k": 2}))
    line(lambda: service.search(query[:0], [1], k=1), ("page", "search", [2], {"k": 1, "query": 1}))
    line(lambda: service.compare(query[0], query[0]), ("page", "compare", [], {}))
    line(lambda: service.source(4), ("page", "source", [4], {}))
    line(lambda: service.browse(Filter(identities=("P1", "P2")), 3, 0), ("page", "browse", [1, 2, 3], {}))
    line(lambda: service.update([3, 4], {"identity": "P9"}), ("page", "update", [3, 4], {}))
    line(lambda: service.decide(5, 6, True), ("page", "decide", [5, 6], {"same": 1}))
    line(lambda: service.decide(5, 6, None), ("page", "decide", [5, 6], {"same": -1}))
    line(lambda: service.forget([4, 3, 4]), ("page", "forget", [3, 4], {}))
    file = tmp_path / "all.parquet"
    line(lambda: service.export(file), ("page", "export", [], {}))
    with opened(file) as exported:
        line(lambda: service.import_(exported, again=True), ("page", "import", [], {}))
    line(lambda: service.set_zone("hall/0", "Europe/Berlin"), ("page", "zone", [], {}))
    line(lambda: service.choose_index("flat"), ("page", "index", [], {}))
    line(lambda: service.calibrate(calibration()), ("page", "calibrate", [], {}))
    line(lambda: service.retain("9"), ("page", "retention", [], {"days": 9.0}))
    line(lambda: service.retain("none"), ("page", "retention", [], {"days": 0}))
    quiet = [lambda: service.features([crop(STRANGER)]), service.zones, service.drop_expired]
    for done in (*quiet, lambda: service.browse(EVERYTHING, 5, 0)):
        line(done)
    for refused in (
        lambda: service.source(99), lambda: service.forget([1, 99]), lambda: service.update([99], {}),
        lambda: service.search(query[:0], [99]), lambda: service.retain("soon"), lambda: service.decide(1, 99, True),
        lambda: service.choose_index("none such"), lambda: service.set_zone("hall/0", "Berlin"),
        lambda: service.calibrate(replace(calibration(), fingerprint="0" * 64)),
    ):  # fmt: skip
        with pytest.raises(InputError):
            line(refused)
        line(lambda: None)
    numbers = [line["number"] for line in gallery.catalogue.log()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(abs(line["time"] - time.time()) < 600 for line in gallery.catalogue.log())


def test_the_log_lies_in_the_gallery_wherever_one_works(tmp_path, monkeypatch):
    with small_gallery(tmp_path) as gallery:
        Service(gallery, "page").forget([1])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with Gallery.open("../gallery") as gallery:
        Service(gallery, "python").source(2)
        assert lines(gallery) == [("page", "forget", [1], {}), ("python", "source", [2], {})]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_erasure_is_on_record_before_it_is_done(service, monkeypatch):
    def cut_off(ids):
        raise InputError("erasing is not finished")

    monkeypatch.setattr(service.gallery, "remove", cut_off)
    with pytest.raises(InputError, match="not finished"):
        service.forget([2])
    assert lines(service.gallery) == [("page", "forget", [2], {})]


def test_browsing_goes_on_where_it_was(service):
    seen, after, more = [], 0, True
    while more:
        entries, more = service.browse(Filter(without=("hall/1",)), 4, after)
        seen += [entry.id for entry in entries]
        after = seen[-1]
    assert seen == [1, 3, 5, 7, 9, 11]


def test_a_fragment_keeps_its_length_where_its_beginning_changes(service):
    service.update([1, 12], {"time": START + 100})
    first, untimed = service.gallery.get([1, 12])
    assert (first.time, first.until) == (START + 100, START + 105) and (untimed.time, untimed.until) == (
        START + 100,
        None,
    )
    service.update([1], {"time": START, "until": START + 1})
    assert service.gallery.get([1])[0].until == START + 1
    service.update([1], {"time": None, "camera": "door"})
    (first,) = service.gallery.get([1])
    assert (first.time, first.camera) == (None, "door")
    with pytest.raises(InputError, match="'frame' cannot be changed"):
        service.update([1], {"frame": 3})


def test_zones_are_of_cameras_that_are_there(service):
    service.set_zone("hall/1", "Europe/Berlin")
    service.set_zone("hall/0", "America/St_Johns")
    assert service.zones() == {"hall/0": "America/St_Johns", "hall/1": "Europe/Berlin"}
    service.set_zone("hall/1", "")
    service.set_zone("never", "")
    assert service.zones() == {"hall/0": "America/St_Johns"}
    with pytest.raises(InputError, match="has no camera 'hall'; its cameras: hall/0, hall/1"):
        service.set_zone("hall", "UTC")
    with pytest.raises(InputError, match="time zone of hall/0: 'Mars' is no time zone"):
        service.set_zone("hall/0", "Mars")


# --- retention --------------------------------------------------------------------------------------------------------


def aged(folder, days):
    """A gallery of entries that were put in so many days ago, each."""
    gallery = Gallery.create(folder / "aged", ORIGIN)
    for number, age in enumerate(days):
        entry = Entry(f"{number}.png", "c", time=5 * DAY, added=time.time() - age * DAY)
        gallery.add([entry], np.eye(4)[[number % 4]], [b""])
    return gallery


def test_entries_expire_by_when_they_were_put_in(tmp_path):
    with aged(tmp_path, [3, 1, 5, 0]) as gallery:
        service = Service(gallery, "command line")
        assert service.drop_expired() == []
        assert service.retain("4") == [3] and service.retain("2") == [1]
        assert service.retain("none") == [] and gallery.setting(RETENTION) is None
        assert [entry.id for entry in gallery.find()] == [2, 4]
        assert lines(gallery) == [
            ("command line", "retention", [], {"days": 4.0}), ("retention", "forget", [3], {}),
            ("command line", "retention", [], {"days": 2.0}), ("retention", "forget", [1], {}),
            ("command line", "retention", [], {"days": 0}),
        ]  # fmt: skip


def test_expired_entries_go_in_portions_and_whoever_else_erases_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PORTION", 2)
    with aged(tmp_path, [5, 5, 5, 5, 5, 1]) as gallery:
        remove = gallery.remove
        other = [[2]]

        def late(ids):
            if other:
                remove(other.pop())  # another process is quicker with one of them
            remove(ids)

        monkeypatch.setattr(gallery, "remove", late)
        assert sorted(Service(gallery, "page").retain("3")) == [1, 3, 4, 5]
        assert [entry.id for entry in gallery.find()] == [6]


def test_nothing_expires_before_its_time(tmp_path, monkeypatch):
    with Gallery.create(tmp_path / "gallery", ORIGIN) as gallery:
        entries = [Entry(f"/{n}", "c", time=5e9, added=1e9 + n * DAY) for n in range(5)]
        gallery.add(entries, np.ones((5, 4)), [b"\xff\xd8\xff"] * 5)
        gallery.set(RETENTION, "2")
        for now, dropped in ((1e9 + 2 * DAY, []), (1e9 + 3 * DAY + 1, [1, 2])):
            monkeypatch.setattr(module.time, "time", lambda now=now: now)
            assert Service(gallery, "page").drop_expired() == dropped
        assert [entry.id for entry in gallery.find()] == [3, 4, 5] and gallery.verify() == []
        assert lines(gallery) == [("retention", "forget", [1, 2], {})]


def test_others_have_their_turn_between_portions(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PORTION", 2)
    with aged(tmp_path, [9] * 5) as gallery:
        turns, real = [], gallery.remove
        monkeypatch.setattr(gallery, "remove", lambda ids: turns.append(list(ids)) or real(ids))
        gallery.set(RETENTION, "0.5")
        assert Service(gallery, "page").drop_expired() == [1, 2, 3, 4, 5]
        assert turns == [[1, 2], [3, 4], [5]] and len(gallery.catalogue.log()) == 3


def test_an_error_is_no_reason_to_try_for_ever(tmp_path, monkeypatch):
    def full(_):
        raise InputError("no space")

    with aged(tmp_path, [9]) as gallery:
        monkeypatch.setattr(gallery, "remove", full)
        gallery.set(RETENTION, "1")
        with pytest.raises(InputError, match="no space"):
            Service(gallery, "page").drop_expired()


@pytest.mark.parametrize("days", ["0", "-1", "inf", "nan", "a month", ""])
def test_no_time_is_refused(service, days):
    with pytest.raises(InputError, match="retention_days .* is no number above 0"):
        service.retain(days)
    assert service.gallery.setting(RETENTION) is None
    with pytest.raises(InputError, match="here: retention_days .* is no number above 0"):
        check_days(days, "here")


# --- several at once --------------------------------------------------------------------------------------------------


def test_several_threads_ask_and_change(service):
    def work(number):
        found = service.search(red(service), k=3)
        if number % 4 == 0:
            service.update([3, 4], {"identity": f"N{number}"})
        if number % 4 == 1:
            service.set_zone("hall/0", "UTC")
        return ids(found)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(32)))
    assert answers == [answers[0]] * 32 and answers[0][:2] == [1, 2]
    assert {entry.identity for entry in service.gallery.get([3, 4])} < {f"N{number}" for number in range(32)}
    assert [line["number"] for line in service.gallery.catalogue.log()] == list(range(1, 32 + 8 + 8 + 1))
    assert service.gallery.verify() == [] and json.loads(json.dumps(service.zones())) == {"hall/0": "UTC"}

import hashlib
import re
from pathlib import Path

import pytest

from reid.config import Config, dump_resolved, load_config, load_resolved
from reid.errors import InputError
from reid.files import bundled
from reid.overrides import flatten


def test_layers_in_order(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("optim: {lr: 1e-3, epochs: 5}\nlosses: {triplet: {margin: null}}\n")
    config = load_config(str(path), ["optim.epochs=7", "targets=[a, b]"])
    assert (config.optim.lr, config.optim.epochs, config.optim.gamma) == (1e-3, 7, 0.1)
    assert config.targets == ("a", "b") and config.name == "mine"
    assert config.losses == {"identity": {"weight": 1.0, "smoothing": 0.1}, "triplet": {"weight": 1.0, "margin": None}}
    assert config.origin("optim.epochs") == "command line"
    assert config.origin("optim.lr") == str(path)
    assert config.origin("optim.gamma") == "base.yaml"


def test_extends_a_file_beside_it_or_a_bundled_one(tmp_path):
    (tmp_path / "child.yaml").write_text("extends: parent.yaml\nseed: 3\n")
    (tmp_path / "parent.yaml").write_text("extends: sites_bn.yaml\nseed: 1\noptim: {epochs: 9}\n")
    config = load_config(str(tmp_path / "child.yaml"))
    assert (config.seed, config.optim.epochs, config.model.width, config.name) == (3, 9, 0.5, "child")
    (tmp_path / "parent.yaml").write_text("extends: child.yaml\n")
    with pytest.raises(InputError, match=r"parent.yaml -> child.yaml|child.yaml -> parent.yaml"):
        load_config(str(tmp_path / "child.yaml"))


@pytest.mark.parametrize("path", sorted(bundled("configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_bundled_config_loads(path):
    assert load_config(path.name).name == path.stem


@pytest.mark.parametrize("path", sorted(bundled("configs").glob("*.yaml")), ids=lambda path: path.name)
def test_figures_that_do_not_depend_on_the_cores_do_not_depend_on_the_processor(path):
    """A config that pins threads promises its figures to anyone; bf16, where there is some, would change them."""
    config = load_config(path.name)
    assert config.threads is None or config.precision == "float32"


def test_the_market_configs_differ_in_one_line():
    values = [flatten(load_config(f"market_{kind}.yaml").model_dump()) for kind in ("bn", "ibn_a", "ibn_b")]
    differing = {key for key in values[0] if len({str(value[key]) for value in values}) > 1}
    assert differing == {"model.backbone"}


def test_base_holds_the_bag_of_tricks_recipe():
    config = load_config("market_ibn_b.yaml")
    assert (config.data.height, config.data.width, config.sampler.identities, config.sampler.images) == (
        256,
        128,
        16,
        4,
    )
    assert (config.optim.lr, config.optim.weight_decay, config.optim.warmup, config.optim.epochs) == (
        3.5e-4,
        5e-4,
        10,
        120,
    )
    assert (config.optim.milestones, config.optim.gamma, config.transforms.erasing) == ((40, 70), 0.1, 0.5)
    assert (config.model.last_stride, config.losses["identity"]["smoothing"]) == (1, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "optim: {lrr: 1}",
            r"x.yaml: unknown key 'optim.lrr'; the keys here are name, lr, backbone_lr, .* Did you mean 'lr'\?",
        ),
        ("modle: {}", r"x.yaml: unknown key 'modle'; the keys here are seed, .* Did you mean 'model'\?"),
        ("optim: {lr: fast}", "x.yaml: optim.lr: input should be a valid number.*, got 'fast'"),
        ("optim: {lr: 0}", "x.yaml: optim.lr: input should be greater than 0, got 0"),
        ("model: {last_stride: 3}", "x.yaml: model.last_stride: input should be 1 or 2, got 3"),
        ("device: gpu", "x.yaml: device: string should match pattern .*, got 'gpu'"),
        ("model: resnet50", "x.yaml: model: .*, got 'resnet50'"),
        ("losses: {triplet: hard}", "x.yaml: losses.triplet: .*, got 'hard'"),
        ("seed: true", "x.yaml: seed: expected a number or a text, got True"),
        ("seed: 1\nseed: 2", "x.yaml: not valid YAML: key 'seed' is given twice"),
        ("run: 2026-99-99", "x.yaml: not valid YAML: month must be in 1..12"),
        ("threads: 99999999999999", "x.yaml: threads: input should be less than or equal to 1024"),
        ("seed: [1, 2]", "x.yaml: seed: input should be a valid integer, got .1, 2."),
        ("- a\n- b", "x.yaml: holds a list, expected a mapping of keys to values"),
        ("a: [", "x.yaml: not valid YAML"),
        ("extends: 3", "x.yaml: extends: expected a file's name, got 3"),
        ("extends: none.yaml", "'none.yaml' is neither a file nor one of the bundled configs"),
    ],
)
def test_bad_values_name_file_and_key(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(str(path))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "command line: 'seed' is not of the form key=value"),
        ("seed=x", "command line: seed: .* got 'x'"),
        ("model.width=-1", "command line: model.width: .* got -1"),
        ("model=3", "command line: model: "),
        ("a.b=1", "command line: unknown key 'a'"),
        ("seed={", "command line: seed: '{': not valid YAML"),
    ],
)
def test_bad_overrides(override, message):
    with pytest.raises(InputError, match=re.escape(message).replace(r"\ \.\*\ ", " .* ")):
        load_config("market_bn.yaml", [override])


def test_resolved_round_trip(tmp_path):
    config = load_config("sites_ibn_b.yaml", ["seed=3", "losses.triplet.margin=null"])
    path = tmp_path / "config.yaml"
    path.write_text(dump_resolved(config))
    again = load_resolved(path)
    assert again.model_dump() == config.model_dump() and again.name == "sites_ibn_b" and again.hash() == config.hash()
    assert load_resolved(path, ["evaluation.distance=euclidean"]).evaluation.distance == "euclidean"


def test_a_base_yaml_of_the_working_directory_is_not_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text("seed: 5\n")
    assert load_config("market_bn.yaml").seed == 0


def test_hash_covers_what_is_trained_and_nothing_else():
    base = load_config("sites_bn.yaml")
    for same in ("targets=[street]", "data.workers=7", "device=cpu", "output=elsewhere", "evaluation.batch_size=3"):
        assert load_config("sites_bn.yaml", [same]).hash() == base.hash()
    for other in ("seed=1", "model.width=1", "transforms.standardise=true", "optim.lr=1", "data.source=station"):
        assert load_config("sites_bn.yaml", [other]).hash() != base.hash()


def test_run_folder_tells_runs_apart():
    def folder(*overrides: str) -> str:
        return load_config("sites_bn.yaml", overrides).run_folder.as_posix()

    assert folder() == "runs/sites_bn_seed0"
    assert folder("seed=2", "targets=[]", "device=cpu", "data.workers=0") == "runs/sites_bn_seed2"
    assert folder("run=mine", "output=here") == "here/mine"
    assert folder("data.source=plaza") == folder()  # what the file says already
    assert re.fullmatch("runs/sites_bn_station_seed0_[0-9a-f]{6}", folder("data.source=station"))
    assert re.fullmatch(
        r"runs/sites_bn_plaza\+station_seed1_[0-9a-f]{6}", folder("data.source=[plaza, station]", "seed=1")
    )
    assert re.fullmatch("runs/sites_bn_seed0_[0-9a-f]{6}", folder("optim.lr=0.1"))
    assert len({folder(f"optim.lr={rate}") for rate in (0.1, 0.2, "1e-1")}) == 2


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("/data/my crops/", "my-crops"),
        ("../Läden/shop.csv", "shop"),
        ("'..'", "data"),
        ("market1501@detected", "market1501@detected"),
        (f"/data/{'long' * 50}", "long" * 10),
        ("[" + ", ".join(f"/data/{n}/{'x' * 60}" for n in range(9)) + "]", "+".join(["x" * 40, "x" * 39])),
    ],
)
def test_a_path_as_source_is_a_safe_and_short_word(source, word):
    folder = load_config("sites_bn.yaml", [f"data.source={source}"]).run_folder
    assert re.fullmatch(rf"sites_bn_{re.escape(word)}_seed0_[0-9a-f]{{6}}", folder.name)
    assert folder.parent.as_posix() == "runs" and len(folder.name.encode()) < 150


def test_sources_of_one_word_have_folders_of_their_own():
    names = ["/a/crops", "/b/crops", "'crops #1'", "'crops  #1'", "[crops, station]", "crops+station"]
    folders = {load_config("sites_bn.yaml", [f"data.source={name}"]).run_folder for name in names}
    assert len(folders) == len(names)


def test_a_folder_of_the_former_name_stays_the_runs(tmp_path, monkeypatch):
    """``sites_bn_seed0_HASH``, as runs of an overridden source were once named."""
    monkeypatch.chdir(tmp_path)
    station = load_config("sites_bn.yaml", ["data.source=station"])
    new = station.run_folder
    changed = hashlib.sha256(b'{"data.source": "station"}').hexdigest()[:6]
    old = Path(f"runs/sites_bn_seed0_{changed}")
    assert new == Path(f"runs/sites_bn_station_seed0_{changed}")
    old.mkdir(parents=True)
    assert station.run_folder == old
    assert load_config("sites_bn.yaml", ["data.source=street"]).run_folder.name.startswith("sites_bn_street_seed0_")


def test_data_folder(monkeypatch):
    config = load_config("market_bn.yaml")
    monkeypatch.delenv("REID_DATA", raising=False)
    assert config.data.folder.as_posix() == "data"
    monkeypatch.setenv("REID_DATA", "/somewhere")
    assert config.data.folder.as_posix() == "/somewhere"
    assert load_config("market_bn.yaml", ["data.root=mine"]).data.folder.as_posix() == "mine"


def test_every_key_of_the_schema_stands_in_base_with_a_comment():
    lines = (bundled("configs") / "base.yaml").read_text().splitlines()

    def names(section: type) -> list[str]:
        found = []
        for name, field in section.model_fields.items():
            found.append(name)
            if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
                found += names(field.annotation)
        return found

    for name in names(Config):
        assert any(line.strip().startswith(f"{name}:") for line in lines), name

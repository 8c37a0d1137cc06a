import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from references import slow_evaluate
from runs import at_step, evaluate_run, features_of
from safetensors.torch import load_file

from reid.config import load_config
from reid.data.samples import Samples, hold_out
from reid.engine import build
from reid.engine.checkpoint import EPOCHS, FILE, LOG_FILE, SELECTED, VALIDATION_FILE, read_progress
from reid.engine.state import TrainState
from reid.engine.train import Interrupted, is_trained, train, validate
from reid.errors import InputError
from reid.networks.trained import load_network

HOLD = ["selection.holdout=0.34", "optim.epochs=4", "sampler.identities=2", "optim.lr=3e-3", "transforms.erasing=0"]


def samples(people: int = 10) -> Samples:
    from pathlib import Path

    rows = [(pid, cam, shot) for pid in range(1, people + 1) for cam in (1, 2) for shot in (1, 2)]
    pids, camids, _ = np.array(rows).T
    return Samples(Path("/d"), tuple(f"{p:02d}_{c}_{s}.jpg" for p, c, s in rows), pids, camids)


@pytest.mark.parametrize("seed", range(3))
def test_no_identity_is_on_both_sides(seed):
    whole = samples()
    kept, held = hold_out(whole, 0.3, seed)
    assert len(held.identities) == 3 and not set(kept.identities) & set(held.identities)
    assert sorted(kept.names + held.names) == sorted(whole.names)
    again = hold_out(whole, 0.3, seed)[1]
    assert again.names == held.names


def test_other_seeds_hold_out_others():
    assert len({hold_out(samples(), 0.3, seed)[1].names for seed in range(5)}) > 1


def test_too_few_people(tiny):
    with pytest.raises(InputError, match="leaves fewer than 2 of 3 identities"):
        hold_out(samples(3), 0.5, 0)
    config = load_config("market_bn.yaml", [*tiny, "selection.holdout=0.99"])
    with pytest.raises(InputError, match=r"command line: selection.holdout: 0.99"):
        train(config, progress=False)


def test_what_cannot_select_is_refused_before_training(tiny):
    config = load_config("market_bn.yaml", [*tiny, "selection.patience=2"])
    with pytest.raises(InputError, match=r"command line: selection.patience: needs selection.holdout"):
        train(config, progress=False)
    own = samples()
    with pytest.raises(InputError, match="seen by two cameras"):
        hold_out(Samples(own.root, own.names, own.pids, np.ones_like(own.camids)), 0.3, 0)


def test_the_rate_of_a_step_is_without_validation(tiny, monkeypatch):
    """By a clock that steps and validations move on, a second and a thousand."""
    from reid.engine import train as module

    clock, step = SimpleNamespace(now=0.0), TrainState.step
    monkeypatch.setattr(
        "reid.engine.log.time", SimpleNamespace(monotonic=lambda: clock.now, process_time=lambda: clock.now)
    )

    def slow_step(self, *arguments, **named):
        clock.now += 1
        return step(self, *arguments, **named)

    def slow_validate(*arguments):
        clock.now += 1000
        return validate(*arguments)

    monkeypatch.setattr(TrainState, "step", slow_step)
    monkeypatch.setattr(module, "validate", slow_validate)
    config = load_config("market_bn.yaml", [*tiny, *HOLD])
    lines = [json.loads(line) for line in (train(config, progress=False) / LOG_FILE).read_text().splitlines()]
    assert lines[-1]["epoch"] == 4
    assert all(line["images_per_second"] == 4 and line["device_use"] == 1 for line in lines)


def test_how_a_run_is_tested_does_not_decide_what_is_selected(tiny):
    settings = ["evaluation.flip=true", "evaluation.distance=euclidean", "model.neck_feature=before"]
    plain, other = (load_config("market_bn.yaml", [*tiny, *HOLD, *more]) for more in ([], settings))
    assert plain.hash() == other.hash()
    _, held = hold_out(build.source(plain).samples, 0.34, 0)
    torch.manual_seed(0)
    network = build.embedder(plain, 4)
    assert np.array_equal(
        validate(network, held, build.extractor(plain, network)).ap,
        validate(network, held, build.extractor(other, network)).ap,
    )
    network.neck_feature = "before"
    assert np.array_equal(
        validate(network, held, build.extractor(other, network)).ap,
        validate(network, held, build.extractor(plain, network)).ap,
    )
    assert network.neck_feature == "before"


def test_validation_is_the_plain_evaluation_of_held_out_people(tiny):
    config = load_config("market_bn.yaml", [*tiny, *HOLD])
    _, held = hold_out(build.source(config).samples, 0.34, 0)
    torch.manual_seed(0)
    network = build.embedder(config, 4)
    found = validate(network, held, build.extractor(config, network))
    assert network.training
    gallery = features_of(network.eval(), held, config, "all")
    seen, rows = set(), []
    for row, key in enumerate(zip(held.pids.tolist(), held.camids.tolist(), strict=True)):
        if key not in seen:
            seen.add(key)
            rows.append(row)
    query = type(gallery)(gallery.features[rows], gallery.pids[rows], gallery.camids[rows])
    aps = slow_evaluate(query, gallery)[0]
    assert found.mAP == pytest.approx(np.nanmean(aps)) and len(found.ap) == 4  # two people, two cameras


@pytest.fixture
def selected(tiny):
    config = load_config("market_bn.yaml", [*tiny, *HOLD, "selection.keep_epochs=true"])
    return config, train(config, progress=False)


def test_the_best_epoch_is_tested(selected):
    config, folder = selected
    lines = [json.loads(line) for line in (folder / VALIDATION_FILE).read_text().splitlines()]
    best = max(lines, key=lambda line: line["mAP"])
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert read_progress(folder / FILE).best_epoch == read_progress(folder / SELECTED).best_epoch == best["epoch"]
    chosen = load_file(folder / EPOCHS / f"{best['epoch']:04d}.safetensors")
    kept = load_file(folder / SELECTED)
    assert all(torch.equal(chosen[name], kept[name]) for name in chosen)
    network = load_network(config, folder).state_dict()
    assert all(torch.equal(network[name.removeprefix("model.")], kept[name]) for name in kept)
    run = evaluate_run(config, folder, ["market1501"], progress=False)["run"]
    assert run["epoch"] == best["epoch"] and "held out" in run["epoch_choice"]


def test_the_oracle_is_shown_apart(selected):
    config, folder = selected
    own = evaluate_run(config, folder, ["market1501"], progress=False, oracle=True)["targets"]["market1501"]
    oracle = own["oracle"]
    assert len(oracle["mAP_by_epoch"]) == 4 and oracle["mAP"] == max(oracle["mAP_by_epoch"]) >= own["mAP"]
    assert own["mAP"] in [pytest.approx(value) for value in oracle["mAP_by_epoch"]]
    assert "looks at the target" in oracle["meaning"]


def test_the_oracle_needs_every_epoch(trained):
    config, folder = trained
    with pytest.raises(InputError, match="keep_epochs"):
        evaluate_run(config, folder, ["market1501"], progress=False, oracle=True)


def test_patience_ends_a_run_early(tiny):
    settings = [*tiny, *HOLD, "optim.epochs=12", "optim.lr=1e-9", "selection.patience=2"]  # it does not learn
    config = load_config("market_bn.yaml", settings)
    folder = train(config, progress=False)
    progress = read_progress(folder / FILE)
    lines = (folder / VALIDATION_FILE).read_text().splitlines()
    assert progress.stopped and progress.finished and progress.step < progress.total_steps and is_trained(config)
    assert len(lines) == progress.best_epoch + 2 < 12


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_interrupted_it_selects_the_same(tiny, steps, monkeypatch):
    whole = train(load_config("market_bn.yaml", [*tiny, *HOLD, "run=whole"]), progress=False)
    config = load_config("market_bn.yaml", [*tiny, *HOLD, "run=stopped"])
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        at_step(patch, steps, lambda: os.kill(os.getpid(), signal.SIGTERM))
        train(config, progress=False)
    folder = train(config, progress=False)
    assert (folder / VALIDATION_FILE).read_bytes() == (whole / VALIDATION_FILE).read_bytes()
    one, other = load_file(whole / SELECTED), load_file(folder / SELECTED)
    assert all(torch.equal(one[name], other[name]) for name in one)

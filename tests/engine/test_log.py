import json
import math
from pathlib import Path

import pytest
import torch

from reid.engine.checkpoint import LOG_FILE
from reid.engine.log import LOG_STEPS, TrainLog
from reid.errors import InputError
from reid.progress import track

NAMES = ("loss", "accuracy", "hardest_positive", "hardest_negative")


def log_in(folder: Path, steps: int = 4) -> TrainLog:
    bar = track(name="run", unit="step", total=20, shown=False)
    return TrainLog(folder, NAMES, [f"{number}.jpg" for number in range(8)], steps, torch.device("cpu"), bar)


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]


def test_a_line_a_step_is_written_every_few(tmp_path):
    log = log_in(tmp_path)
    for step in range(1, LOG_STEPS + 2):
        log.add(step, 0.1 * step, torch.tensor([step / 2, 0.25, math.nan, 3.0]), [0, 1])
    assert [line["step"] for line in lines_of(tmp_path)] == [*range(1, LOG_STEPS + 1)]
    log.write()
    lines = lines_of(tmp_path)
    assert [line["epoch"] for line in lines] == [(step - 1) // 4 + 1 for step in range(1, LOG_STEPS + 2)]
    assert [line["loss"] for line in lines] == [step / 2 for step in range(1, LOG_STEPS + 2)]
    assert all(line["hardest_positive"] is None and line["hardest_negative"] == 3 for line in lines)


def test_a_loss_that_is_no_number_is_named_and_the_lines_before_it_stay(tmp_path):
    log = log_in(tmp_path)
    for step, loss in enumerate((1.0, 2.0, math.inf, 3.0), 1):
        log.add(step, 0.1, torch.tensor([loss, 0.0, 1.0, 2.0]), [step])
    with pytest.raises(InputError, match=r"the loss is inf in epoch 1, batch 3 \(images 3.jpg, ...\)"):
        log.write()
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_named(tmp_path):
    (tmp_path / LOG_FILE).symlink_to("/dev/full")
    log = log_in(tmp_path)
    log.add(1, 0.1, torch.ones(4), [0])
    with pytest.raises(InputError, match=rf"{LOG_FILE}: cannot be written: .*No space left.*checkpoint stands"):
        log.write()

"""The log of a training: a line a step, with the rate, and how much of the time the device worked."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reid.engine import distributed
from reid.engine.checkpoint import LOG_FILE
from reid.errors import InputError

LOG_STEPS = 10  # lines written at once,
LOG_SECONDS = 1.0  # or after so long


def append(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    """Write each of ``lines`` as JSON at the end of a file.

    Raises:
        InputError: naming the path, when it cannot be written (a full disk).
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error}; the last checkpoint stands") from None


class TrainLog:
    """A line a step in log.jsonl, and the progress bar. Values stay on the device until several are fetched at once.

    Of several processes the first writes; all see whether the loss is a number.

    Args:
        folder: the run's.
        names: of a step's values, the first that of the loss.
        images: name of each image trained on.
        steps: of an epoch.
        device: that trains.
        bar: progress bar over the steps.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], images: Sequence[str], steps: int, device: torch.device, bar: Any
    ) -> None:
        self._folder, self._names, self._images, self._steps, self._bar = folder, names, images, steps, bar
        self._waiting: list[tuple[int, float, Tensor, list[int]]] = []
        self._started = self._last = time.monotonic()
        self._device = device
        self._busy = 0.0  # seconds of the device's work on the steps that wait
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @property
    def seconds(self) -> float:
        """Since training began here."""
        return time.monotonic() - self._started

    def restart(self) -> None:
        """What was until now is no part of the rate."""
        self._last, self._busy = time.monotonic(), 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the work inside as the device's: by its own clock, of a CPU by the time of its threads."""
        if self._device.type == "cuda":
            events = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            events[0].record()
            yield
            events[1].record()
            self._events.append(events)
        else:
            before = time.process_time()
            yield
            self._busy += (time.process_time() - before) / torch.get_num_threads()

    def add(self, step: int, rate: float, values: Tensor, images: list[int]) -> None:
        """A step that was done. Every ``LOG_STEPS``, or after ``LOG_SECONDS``, they are written.

        Raises:
            InputError: a loss that is no number, naming the step; a file that cannot be written.
        """
        self._waiting.append((step, rate, values, images))
        if len(self._waiting) >= LOG_STEPS or time.monotonic() - self._last >= LOG_SECONDS:
            self.write()

    def write(self) -> None:
        """Write what waits. Raises InputError as :meth:`add` does."""
        if not self._waiting:
            return
        rows = torch.stack([values for _, _, values, _ in self._waiting]).tolist()  # waits for the device
        before, self._last = self._last, time.monotonic()
        taken = max(self._last - before, 1e-9)
        self._busy += sum(start.elapsed_time(end) / 1000 for start, end in self._events)
        count = sum(len(images) for *_, images in self._waiting) * distributed.world_size()
        speed, use = count / taken, min(self._busy / taken, 1.0)
        lines, broken = [], ""
        for (step, rate, _, images), shown in zip(self._waiting, rows, strict=True):
            epoch, within = divmod(step - 1, self._steps)
            if not math.isfinite(shown[0]):
                first = ", ".join(self._images[index] for index in images[:4])
                broken = (
                    f"{self._folder}: the loss is {shown[0]} in epoch {epoch + 1}, batch {within + 1} (images "
                    f"{first}, ...); the last checkpoint stands. A lower optim.lr may help"
                )
                break
            line: dict[str, object] = {"step": step, "epoch": epoch + 1, "lr": rate}
            means = (value if math.isfinite(value) else None for value in shown)  # without a pair there is no mean
            line |= dict(zip(self._names, means, strict=True))
            line |= {"images_per_second": round(speed, 1), "device_use": round(use, 3)}
            lines.append(line)
        if distributed.rank() == 0:
            append(self._folder / LOG_FILE, lines)
        if broken:
            raise InputError(broken)
        self._bar.update(len(rows))
        self._bar.set_postfix_str(
            f"loss {shown[0]:.2f}, accuracy {shown[1]:.0%}, hardest pair +{shown[2]:.1f} -{shown[3]:.1f}, "
            f"{speed:.0f} images/s",
            refresh=False,
        )
        self._waiting, self._events, self._busy = [], [], 0.0

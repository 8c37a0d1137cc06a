"""Signals that ask to stop: the step in progress ends, and what was done is saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from reid.processes import STOPPING


class Interrupted(KeyboardInterrupt):
    """A signal ended the run between two steps, after a checkpoint was written. ``code`` is the exit code to use."""

    def __init__(self, signal_number: int, saved: str) -> None:
        name = signal.Signals(signal_number).name
        super().__init__(f"stopped by {name}; saved {saved}; the same command goes on from there")
        self.code = 128 + signal_number


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """Collect the signals that ask to stop (Ctrl-C, SIGTERM, a closed terminal's SIGHUP) so that the step in progress
    can end; Ctrl-C after one of them interrupts at once. What the caller ignores (``nohup``, a shell's background job)
    stays ignored.
    """
    received: list[int] = []

    def handler(number: int, frame: object) -> None:
        # A closed terminal and `timeout` send theirs twice: only a person who presses again is impatient.
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    answered = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    old = {number: signal.signal(number, handler) for number in answered}
    try:
        yield received
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)

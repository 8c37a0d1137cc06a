"""Train one network on one domain. Reads downward: checks, data, network, optimiser, loop.

A run's folder holds config.yaml (resolved), log.jsonl (a line a step) and checkpoint.safetensors; with held-out
identities also validation.jsonl (a line an epoch) and selected.safetensors (the best epoch). The same call goes on
where an interrupted run stopped: batches and augmentation are functions of (seed, epoch, position), so on a CPU the
result equals that of a run never interrupted, bit for bit.

Started by torchrun, several processes do the same together (:mod:`reid.engine.distributed`); the first of them writes.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import logging
import math
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reid.config import Config, dump_resolved
from reid.data.dataset import Batch, Draw, ImageDataset, batches, training_draws
from reid.data.samplers import Sampler, parts
from reid.data.samples import Samples, hold_out
from reid.data.transforms import Transform
from reid.engine import build, distributed
from reid.engine.build import Source
from reid.engine.checkpoint import (
    CONFIG_FILE,
    FILE,
    LOG_FILE,
    VALIDATION_FILE,
    CheckpointWriter,
    Progress,
    check_resumable,
    check_same_config,
    check_same_data,
    network_file,
    read_progress,
    read_tensors,
    refuse_adapted,
    save_model,
)
from reid.engine.code import say_other_code, training_code, with_code
from reid.engine.extract import Extractor
from reid.engine.log import TrainLog, append, cut
from reid.engine.objective import Objective
from reid.engine.state import Part, TrainState, learning_rate_at
from reid.errors import InputError
from reid.files import locked, write_atomically
from reid.models import Embedder
from reid.processes import Interrupted, collected_signals
from reid.progress import track
from reid.retrieval.features import Features
from reid.retrieval.ranking import Evaluation, evaluate

log = logging.getLogger(__name__)

SAVE_SECONDS = 60.0  # between checkpoints: what a kill may cost
# Besides torch, what decides the pixels that a batch holds.
ARITHMETIC = ("torch", "numpy", "albumentations", "opencv-python-headless", "pillow")


def is_trained(config: Config) -> bool:
    """Whether the run's folder holds this config's finished run.

    Raises:
        InputError: the folder holds a run of another config or an adapted one, or its files cannot be read.
    """
    folder = config.run_folder
    if not (folder / FILE).exists():
        return False
    check_same_config(config, folder)
    stored = read_progress(folder / FILE)
    refuse_adapted(folder, stored)
    if stored.finished:
        source = build.source(config)
        check_same_data(folder, stored, source.fingerprint, source.samples.root)
        say_other_code(folder, stored.code, training_code(validated=config.selection.holdout > 0))
    return stored.finished


def train(config: Config, progress: bool = True, wait: bool = False) -> Path:
    """Train to the end, or go on from the checkpoint in the run's folder; returns the folder.

    ``wait``: for another process that is at work in the folder, instead of an error.

    Raises:
        Busy: another process is at work in the folder, and we do not wait for it.
        InputError: a bad value, file or data set; a loss that is no number; a checkpoint that cannot be gone on with.
        Interrupted: on Ctrl-C, SIGTERM or SIGHUP, with a checkpoint written.
    """
    build.check(config)
    source = build.source(config)
    samples, held = _split(config, source)
    # What cannot be trained with is said before a folder is made.
    build.sampler(config, samples.pids, source.domains_of(samples.pids))
    build.check_cameras(config, samples)
    build.image_cache(config, len(samples))
    with locked(config.run_folder, wait) if distributed.rank() == 0 else nullcontext():
        run = _begin(config, source, samples, held)
        if run is not None:
            _go_on(run, progress)
        distributed.wait_for_all()
    return config.run_folder


def planned_steps(config: Config) -> int:
    """Optimiser steps of the whole run, unless it stops early."""
    source = build.source(config)
    samples, _ = _split(config, source)
    sampler = build.sampler(config, samples.pids, source.domains_of(samples.pids))
    return config.optim.steps or config.optim.epochs * len(sampler)


def _split(config: Config, source: Source) -> tuple[Samples, Samples | None]:
    """What is trained on, and what is held out."""
    if config.selection.holdout == 0:
        return source.samples, None
    try:
        kept, held = hold_out(source.samples, config.selection.holdout, config.seed)
    except InputError as error:
        config.fail("selection.holdout", str(error))
    return kept, held


@dataclass(frozen=True)
class _Run:
    """What a run is made of, where it stands, and its state in training."""

    config: Config
    folder: Path
    samples: Samples
    labels: Tensor
    held: Samples | None
    sampler: Sampler
    transform: Transform
    state: TrainState
    begun: Progress

    def part(self, batch: Batch) -> Part:
        return Part(batch.images, self.labels[batch.indices], torch.from_numpy(self.samples.camids)[batch.indices])


def _begin(config: Config, source: Source, samples: Samples, held: Samples | None) -> _Run | None:
    """The run as it begins or goes on; None where it is finished."""
    folder = config.run_folder
    identities, labels = np.unique(samples.pids, return_inverse=True)
    sampler = build.sampler(config, labels, source.domains_of(samples.pids))
    placement = build.placement(config)
    placement.take_up()
    torch.backends.cudnn.benchmark = True  # every batch has the same shape
    begun = Progress(
        step=0,
        total_steps=config.optim.steps or config.optim.epochs * len(sampler),
        num_classes=len(identities),
        config_hash=config.hash(),
        source=source.label,
        data=source.fingerprint,
        threads=torch.get_num_threads(),
        device=placement.device.type,
        precision=placement.precision,
        packages=", ".join(f"{name} {importlib.metadata.version(name)}" for name in ARITHMETIC),
        cpu=torch.backends.cpu.get_cpu_capability(),
        seconds=0.0,
        weights="none",
        code=training_code(validated=config.selection.holdout > 0),
        world_size=distributed.world_size(),
        compiled=config.compile,
    )
    torch.manual_seed(config.seed)
    network = build.embedder(config, len(identities))
    checkpoint = folder / FILE
    resuming = checkpoint.exists()
    if resuming:
        check_same_config(config, folder)
        stored = read_progress(checkpoint)
        refuse_adapted(folder, stored)
        check_same_data(folder, stored, source.fingerprint, source.samples.root)
        if stored.finished:
            if config.precision not in ("auto", stored.precision):
                config.fail("precision", f"{config.precision!r}, but {folder} was trained in {stored.precision}")
            say_other_code(folder, stored.code, begun.code)
            return None
        check_resumable(checkpoint, stored, begun)
        begun = with_code(folder, stored, begun.code)
        torch.set_num_threads(begun.threads)
    else:
        begun = replace(begun, weights=build.pretrained(config, network))
    objective = Objective(build.losses(config, len(identities), network.channels))
    transform = build.train_transform(config)
    state = TrainState(network, objective, config.optim, placement, transform.normalise, config.sync_batchnorm)
    if resuming:
        _load(checkpoint, state)
    distributed.wait_for_all()  # all have read what is there
    if distributed.rank() == 0:
        if resuming:
            log.info(f"{folder}: going on after step {begun.step} of {begun.total_steps}")
        else:
            log.info(f"{folder}: {begun.device}, {begun.precision}; {begun.weights}")
            write_atomically(folder / CONFIG_FILE, dump_resolved(config))
        if shares := build.shares(config):
            log.info(f"{folder}: {shares}")
        for note in filter(None, (build.few_pairs(config, sampler, labels), build.few_identities(config))):
            log.warning(f"{folder}: {note}")
        cut(folder / LOG_FILE, begun.step)
        if held is not None:
            cut(folder / VALIDATION_FILE, begun.step // len(sampler))
    return _Run(config, folder, samples, torch.from_numpy(labels), held, sampler, transform, state, begun)


def _go_on(run: _Run, progress: bool) -> None:
    """From where it stands to the end."""
    config, state, steps, total = run.config, run.state, len(run.sampler), run.begun.total_steps
    first = distributed.rank() == 0
    now, step, saved = run.begun, run.begun.step, time.monotonic()
    agreed, thaw = distributed.Agreement(), math.ceil(config.optim.freeze * steps)
    bar = track(name=run.folder.name, unit="step", total=total, done=step, shown=progress and first)
    lines = TrainLog(run.folder, state.objective.shown, run.samples.names, steps, state.placement.device, bar)
    signals = collected_signals(alone=distributed.world_size() == 1)
    with bar, CheckpointWriter(run.folder / FILE) as checkpoints, signals as got:
        for loaded in _batches(run):
            work = [run.part(batch) for batch in loaded]
            rate, frozen = learning_rate_at(config.optim, step, steps, total), step < thaw
            if config.compile and step == run.begun.step:
                log.info(f"{run.folder}: {state.compile(work, frozen)}")
                lines.restart()
            with lines.timed():
                values = state.step(work, rate, frozen)
            if config.compile and run.begun.step < step == thaw:
                lines.restart()  # it was compiled anew
            step += 1
            lines.add(step, rate, values, [index for batch in loaded for index in batch.indices.tolist()])
            now = replace(now, step=step, seconds=run.begun.seconds + lines.seconds)
            best = now.best_epoch
            if step % steps == 0 or step == total:
                lines.write()
                now = _end_epoch(run, now, -(-step // steps))
                lines.restart()
            stopping = agreed(bool(got), last=now.finished)
            due = not checkpoints.busy and time.monotonic() - saved > SAVE_SECONDS
            if first and (stopping or now.finished or now.best_epoch != best or due):
                lines.write()  # which sees that the loss is a number
                checkpoints.write(state.tensors(), now)
                saved = time.monotonic()
            if stopping:
                checkpoints.wait()
                distributed.wait_for_all()  # torchrun ends the others when one has ended
                raise Interrupted(got[0] if got else signal.SIGTERM, f"{run.folder / FILE} after step {step}")
            if now.stopped:
                break
        checkpoints.wait()  # a signal in the meantime may not break the last one off
        if got:
            raise Interrupted(got[0], f"{run.folder / FILE} after step {step}, its last")


def _load(checkpoint: Path, state: TrainState) -> None:
    try:
        state.load(read_tensors(checkpoint))
    except (KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{checkpoint}: does not fit the network and losses of its config: {error}") from None


def _batches(run: _Run) -> Iterator[list[Batch]]:
    """This process's parts of each step's batch that is left; one loader reads those of all epochs."""
    each, number = run.config.sampler.accumulate, distributed.rank()
    left = itertools.islice(itertools.chain.from_iterable(_epochs(run)), run.begun.total_steps - run.begun.step)
    ours = (parts(draws, each * distributed.world_size())[number * each : (number + 1) * each] for draws in left)
    if (cache := build.image_cache(run.config, len(run.samples))) is not None and number == 0:
        log.info(f"{run.folder}: {cache}")
    images = ImageDataset(run.samples.paths, run.transform.fit, run.transform.augment, cache)
    loaded = batches(images, itertools.chain.from_iterable(ours), build.workers(run.config))
    while together := list(itertools.islice(loaded, each)):
        yield together


def _epochs(run: _Run) -> Iterator[list[list[Draw]]]:
    """The batches of each epoch that is left. One is drawn while that before it is trained on: of a hundred thousand
    images it takes half a second, for which the device would wait."""
    first, within = divmod(run.begun.step, len(run.sampler))
    last = (run.begun.total_steps - 1) // len(run.sampler)

    def draw(epoch: int) -> list[list[Draw]]:
        return training_draws(run.sampler.epoch(epoch), run.config.seed, epoch, within if epoch == first else 0)

    with ThreadPoolExecutor(1, "epoch") as thread:
        coming = thread.submit(draw, first)
        for epoch in range(first, last + 1):
            drawn = coming.result()
            if epoch < last:
                coming = thread.submit(draw, epoch + 1)
            yield drawn


def _end_epoch(run: _Run, state: Progress, epoch: int) -> Progress:
    """Keep the epoch's network if asked to; validate, keep it if it is the best so far, and say whether to go on."""
    config, folder, first = run.config, run.folder, distributed.rank() == 0
    if config.selection.keep_epochs and first:
        save_model(network_file(folder, run.held is not None, epoch), run.state.tested, state)
    if run.held is None:
        return state
    distributed.share_buffers(run.state.tested)
    validation = validate(run.state.tested, run.held, build.extractor(config, run.state.tested))
    line = {"epoch": epoch, "step": state.step, "mAP": validation.mAP, "rank1": float(validation.cmc[0])}
    if first:
        append(folder / VALIDATION_FILE, [line])
    if validation.mAP > state.best_mAP or not state.best_epoch:
        state = replace(state, best_epoch=epoch, best_mAP=validation.mAP)
        if first:
            save_model(network_file(folder, held_out=True), run.state.tested, state)
    patience = config.selection.patience
    return replace(state, stopped=patience is not None and epoch - state.best_epoch >= patience)


def validate(network: Embedder, held: Samples, extractor: Extractor) -> Evaluation:
    """Held-out images as gallery, the first of each identity and camera as queries; the network ends in training mode.

    By the cosine of the features after the neck, without mirror images: how a run is tested later does not decide what
    is trained. Of the ``extractor`` transform, placement, batch size and workers count. Several processes extract their
    shares; the first ranks, and all get what it found.
    """
    _, firsts = np.unique(np.stack([held.pids, held.camids]), axis=1, return_index=True)
    queries = np.isin(np.arange(len(held)), firsts)
    network.eval()
    try:
        plain = replace(extractor, network=network.after_neck, flip=False)
        features = distributed.in_shares(
            len(held), plain.batch_size, lambda rows: plain.extract(held.part(rows), progress=False)
        )
    finally:
        network.train()
    evaluation = distributed.of_first(None if features is None else _ranked(features, held, queries))
    assert evaluation is not None
    return evaluation


def _ranked(features: np.ndarray, held: Samples, queries: np.ndarray) -> Evaluation:
    """The rows that ``queries`` (N,) says among all ``features`` (N, D)."""
    origin = "held-out identities"
    gallery = Features(features, held.pids, held.camids, held.names, origin)
    query = Features(features[queries], held.pids[queries], held.camids[queries], origin=origin)
    return evaluate(query, gallery)

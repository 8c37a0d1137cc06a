"""Train one network on one domain. Reads downward: checks, data, network, optimiser, loop.

A run's folder holds config.yaml (resolved), log.jsonl (a line a step) and checkpoint.safetensors; with held-out
identities also validation.jsonl (a line an epoch) and selected.safetensors (the best epoch). The same call goes on
where an interrupted run stopped: batches and augmentation are functions of (seed, epoch, position), so on a CPU the
result equals that of a run never interrupted, bit for bit.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from reid.config import Config, OptimConfig, dump_resolved, load_resolved
from reid.data.dataset import Draw, ImageDataset, batches, training_draws
from reid.data.samplers import PKSampler, RandomSampler
from reid.data.samples import Samples
from reid.engine import build
from reid.engine.build import Source
from reid.engine.checkpoint import (
    CONFIG_FILE,
    FILE,
    LOG_FILE,
    Progress,
    check_resumable,
    load_training,
    network_file,
    read_progress,
    save_checkpoint,
    save_model,
)
from reid.engine.code import say_other_code, training_code, with_code
from reid.engine.objective import Objective
from reid.engine.selection import VALIDATION_FILE, hold_out, validate
from reid.errors import InputError
from reid.files import locked, write_atomically
from reid.models import Embedder
from reid.overrides import flatten
from reid.processes import Interrupted, collected_signals
from reid.progress import track

log = logging.getLogger(__name__)

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
    _check_same_config(config, folder)
    stored = read_progress(folder / FILE)
    _refuse_adapted(folder, stored)
    if stored.finished:
        _check_same_data(folder, stored, build.source(config))
        say_other_code(folder, stored.code, training_code(validated=config.selection.holdout > 0))
    return stored.finished


def train(config: Config, progress: bool = True, recorded: Config | None = None, wait: bool = False) -> Path:
    """Train to the end, or go on from the checkpoint in the run's folder; returns the folder.

    ``recorded`` is the config that is written there, where this one differs in where it runs (device, threads);
    ``wait``: for another process that is at work in the folder, instead of an error.

    Raises:
        Busy: another process is at work in the folder, and we do not wait for it.
        InputError: a bad value, file or data set; a loss that is no number; a checkpoint that cannot be gone on with.
        Interrupted: on Ctrl-C, SIGTERM or SIGHUP, with a checkpoint written.
    """
    build.check(config)
    source = build.source(config)
    samples, held = _split(config, source)
    build.sampler(config, samples.pids)  # too few people is said before a folder is made
    build.image_cache(config, len(samples))  # and too little memory
    with locked(config.run_folder, wait):
        return _train(config, recorded or config, source, samples, held, progress)


def planned_steps(config: Config) -> int:
    """Optimiser steps of the whole run, unless it stops early."""
    samples, _ = _split(config, build.source(config))
    return config.optim.steps or config.optim.epochs * len(build.sampler(config, samples.pids))


def _split(config: Config, source: Source) -> tuple[Samples, Samples | None]:
    """What is trained on, and what is held out."""
    if config.selection.holdout == 0:
        return source.samples, None
    try:
        kept, held = hold_out(source.samples, config.selection.holdout, config.seed)
    except InputError as error:
        config.fail("selection.holdout", str(error))
    return kept, held


def _train(
    config: Config, recorded: Config, source: Source, samples: Samples, held: Samples | None, progress: bool
) -> Path:
    folder = config.run_folder
    identities, labels = np.unique(samples.pids, return_inverse=True)
    sampler = build.sampler(config, labels)
    steps_per_epoch = len(sampler)
    total_steps = config.optim.steps or config.optim.epochs * steps_per_epoch

    placement = build.placement(config)
    placement.take_up()
    device = placement.device
    begun = Progress(
        step=0,
        total_steps=total_steps,
        num_classes=len(identities),
        config_hash=config.hash(),
        source=source.label,
        data=source.fingerprint,
        threads=torch.get_num_threads(),
        device=device.type,
        precision=placement.precision,
        packages=", ".join(f"{name} {importlib.metadata.version(name)}" for name in ARITHMETIC),
        cpu=torch.backends.cpu.get_cpu_capability(),
        seconds=0.0,
        weights="none",
        code=training_code(validated=config.selection.holdout > 0),
    )

    torch.manual_seed(config.seed)
    network = build.embedder(config, len(identities))
    checkpoint = folder / FILE
    resuming = checkpoint.exists()
    if resuming:
        _check_same_config(config, folder)
        stored = read_progress(checkpoint)
        _refuse_adapted(folder, stored)
        _check_same_data(folder, stored, source)
        if stored.finished:
            if config.precision not in ("auto", stored.precision):
                config.fail("precision", f"{config.precision!r}, but {folder} was trained in {stored.precision}")
            say_other_code(folder, stored.code, begun.code)
            return folder
        check_resumable(checkpoint, stored, begun)
        begun = with_code(folder, stored, begun.code)
        torch.set_num_threads(begun.threads)
        log.info(f"{folder}: going on after step {begun.step} of {total_steps}")
    else:
        begun = replace(begun, weights=build.pretrained(config, network))
        log.info(f"{folder}: {begun.device}, {begun.precision}; {begun.weights}")
        write_atomically(folder / CONFIG_FILE, dump_resolved(recorded))
    if note := build.few_pairs(config, sampler, labels):
        log.warning(f"{folder}: {note}")
    network = network.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(
        [parameter for parameter in network.parameters() if parameter.requires_grad],
        lr=config.optim.lr,
        weight_decay=config.optim.weight_decay,
        fused=True,
    )
    if resuming:
        load_training(checkpoint, network, optimizer)
    _cut_log(folder / LOG_FILE, begun.step)
    if held is not None:
        _cut_log(folder / VALIDATION_FILE, begun.step // steps_per_epoch)

    objective = Objective(build.losses(config, len(identities), network.channels)).to(device)
    cameras = torch.from_numpy(samples.camids)
    transform = build.train_transform(config)
    if (cache := build.image_cache(config, len(samples))) is not None:
        log.info(f"{folder}: {cache}")
    images = ImageDataset(samples.paths, transform.fit, transform.augment, cache)
    targets = torch.from_numpy(labels)
    step, state = begun.step, begun
    started = now = time.monotonic()

    def save() -> None:
        seconds = begun.seconds + time.monotonic() - started
        save_checkpoint(checkpoint, network, optimizer, replace(state, step=step, seconds=seconds))

    bar = track(name=folder.name, unit="step", total=total_steps, done=step, shown=progress)
    with (folder / LOG_FILE).open("a", encoding="utf-8", buffering=1) as lines, collected_signals() as received, bar:
        draws = _remaining_draws(sampler, config.seed, step, total_steps)
        for batch in batches(images, draws, build.workers(config)):
            epoch = step // steps_per_epoch
            learning_rate = learning_rate_at(config.optim, step, steps_per_epoch, total_steps)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            inputs = transform.normalise(batch.images.to(device, non_blocking=True))
            wanted = targets[batch.indices].to(device)
            with placement.autocast():
                output = network(inputs)
                loss, values = objective(output, wanted, cameras[batch.indices].to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()

            shown = values.tolist()
            if not math.isfinite(shown[0]):
                where = f"epoch {epoch + 1}, batch {step - epoch * steps_per_epoch + 1}"
                first = ", ".join(samples.names[i] for i in batch.indices[:4].tolist())
                raise InputError(
                    f"{folder}: the loss is {shown[0]} in {where} (images {first}, ...); "
                    f"the last checkpoint stands. A lower optim.lr may help"
                )
            optimizer.step()
            step += 1
            before, now = now, time.monotonic()
            images_per_second = len(inputs) / (now - before)
            line: dict[str, object] = {"step": step, "epoch": epoch + 1, "lr": learning_rate}
            means = (value if math.isfinite(value) else None for value in shown)  # without a pair there is no mean
            line |= dict(zip(objective.shown, means, strict=True))
            lines.write(json.dumps(line | {"images_per_second": round(images_per_second, 1)}) + "\n")
            bar.update()
            bar.set_postfix_str(
                f"loss {shown[0]:.2f}, accuracy {shown[1]:.0%}, hardest pair +{shown[2]:.1f} -{shown[3]:.1f}, "
                f"{images_per_second:.0f} images/s",
                refresh=False,
            )
            epoch_ended = step % steps_per_epoch == 0 or step == total_steps
            if epoch_ended:
                state = _end_epoch(config, folder, network, held, replace(state, step=step), epoch + 1)
            if epoch_ended or received:
                save()
            if received:
                raise Interrupted(received[0], f"{checkpoint} after step {step}")
            if state.stopped:
                break
    return folder


def _remaining_draws(
    sampler: PKSampler | RandomSampler, seed: int, step: int, total_steps: int
) -> Iterator[list[Draw]]:
    """The batches from ``step`` on, an epoch after the other: one loader reads them all, and they never lie in memory
    together."""
    first, within = divmod(step, len(sampler))
    epochs = (
        training_draws(sampler.epoch(epoch), seed, epoch, within if epoch == first else 0)
        for epoch in itertools.count(first)
    )
    return itertools.islice(itertools.chain.from_iterable(epochs), total_steps - step)


def _end_epoch(
    config: Config, folder: Path, network: Embedder, held: Samples | None, state: Progress, epoch: int
) -> Progress:
    """Keep the epoch's network if asked to; validate, keep it if it is the best so far, and say whether to go on."""
    if config.selection.keep_epochs:
        save_model(network_file(folder, held is not None, epoch), network, state)
    if held is None:
        return state
    validation = validate(network, held, build.extractor(config, network))
    line = {"epoch": epoch, "step": state.step, "mAP": validation.mAP, "rank1": float(validation.cmc[0])}
    with (folder / VALIDATION_FILE).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(line) + "\n")
    if validation.mAP > state.best_mAP or not state.best_epoch:
        state = replace(state, best_epoch=epoch, best_mAP=validation.mAP)
        save_model(network_file(folder, held is not None), network, state)
    patience = config.selection.patience
    return replace(state, stopped=patience is not None and epoch - state.best_epoch >= patience)


def learning_rate_at(optim: OptimConfig, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """Linear warm-up from a tenth of ``lr``, then steps (Luo et al. 2019, sec. 3.1) or half a cosine down to 0."""
    position = step / steps_per_epoch
    if position < optim.warmup:
        return optim.lr * (0.1 + 0.9 * position / optim.warmup)
    if optim.schedule == "steps":
        return optim.lr * optim.gamma ** sum(position >= milestone for milestone in optim.milestones)
    warm = optim.warmup * steps_per_epoch
    return optim.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(total_steps - warm, 1)))


def _check_same_config(config: Config, folder: Path) -> None:
    old, new = flatten(load_resolved(folder / CONFIG_FILE).training()), flatten(config.training())
    differing = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    if differing:
        shown = "; ".join(f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in differing[:5])
        raise InputError(f"{folder}: holds a run of another config ({shown}). Choose another run=NAME, or delete it")


def _check_same_data(folder: Path, stored: Progress, source: Source) -> None:
    if stored.data != source.fingerprint:
        raise InputError(
            f"{folder}: was trained on other files of {stored.source} (fingerprint {stored.data[:12]}, the files in "
            f"{source.samples.root} have {source.fingerprint[:12]}). Choose another run=NAME, or delete it"
        )


def _cut_log(path: Path, steps: int) -> None:
    """Drop lines after the checkpoint: a killed run may have logged steps that are now done again."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    write_atomically(path, "".join(lines[:steps]))


def _refuse_adapted(folder: Path, stored: Progress) -> None:
    """Refuse to take an adapted network for the run that it was made from, to be trained or gone on with."""
    if stored.adapted:
        raise InputError(
            f"{folder}: holds a network adapted to {stored.adapted['data']} (adapt.py), which is not trained any "
            f"further; it was made from the run {stored.adapted['run']}. Choose another run=NAME, or delete it"
        )

"""What training minimises: the weighted losses of a configuration as one module, and what the log shows of a batch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor, nn

from reid.engine.distributed import gathered
from reid.errors import InputError
from reid.losses import LOSSES
from reid.losses.pairs import hardest_pairs, log_means
from reid.models.backbone import TrainOutput

OURS = {"weight", "gather"}  # keys of every loss; the others are arguments of its constructor
SHOWN = ("loss", "accuracy", "hardest_positive", "hardest_negative")  # of each batch, before the losses' own values


@dataclass(frozen=True)
class WeightedLoss:
    """One term of the total loss; ``gather``: over the images of all processes, not of this one's alone."""

    name: str
    weight: float
    loss: nn.Module
    gather: bool = False


def make_losses(
    parameters: Mapping[str, Mapping[str, bool | float | None]], classes: int, channels: int
) -> list[WeightedLoss]:
    """The losses with a weight above 0, for so many people and numbers a feature.

    Raises:
        InputError: an unknown loss or key, a value that a loss does not take, or no loss with a weight.
    """
    built = []
    for name, given in parameters.items():
        if name not in LOSSES:
            raise InputError(f"{name!r} is not one of {', '.join(LOSSES)}")
        supplied = {"classes": classes, "channels": channels}
        kind: Any = LOSSES[name]
        known = inspect.signature(kind).parameters
        choices = [key for key in known if key not in supplied]
        ours = ["weight", "gather"] if kind.pairs else ["weight"]
        unknown = sorted(set(given) - {*ours, *choices})
        if unknown:
            keys = ", ".join([*ours, *choices])
            raise InputError(f"{name}: unknown key {unknown[0]!r}; the keys here are {keys}")
        weight, gather = given.get("weight", 1.0), given.get("gather", False)
        if isinstance(weight, bool) or weight is None or not 0 <= weight < math.inf:
            raise InputError(f"{name}.weight: expected a number of at least 0, got {weight!r}")
        if not isinstance(gather, bool):
            raise InputError(f"{name}.gather: expected true or false, got {gather!r}")
        arguments: dict[str, Any] = {key: value for key, value in given.items() if key not in OURS}
        for key, value in arguments.items():
            _check_type(f"{name}.{key}", value, get_type_hints(kind.__init__)[key])
        loss = kind(**arguments, **{key: value for key, value in supplied.items() if key in known})
        if weight > 0:
            built.append(WeightedLoss(name, weight, loss, gather))
    if not built:
        raise InputError("every loss has weight 0; nothing is left to train with")
    return built


def _check_type(key: str, value: bool | float | None, hint: Any) -> None:
    """Refuse a value that is not of a type that a loss' constructor names: neither true nor null is a number."""
    types = get_args(hint) or (hint,)
    if (float if type(value) is int else type(value)) not in types:
        raise InputError(f"{key}: expected {'true or false' if bool in types else 'a number'}, got {value!r}")


class Objective(nn.Module):
    """The weighted sum of losses, and what the log shows beside it. Nothing here waits for the device.

    Args:
        terms: the losses; those with parameters of their own (centres, say) have them trained by plain gradient steps
            of size ``loss.rate``, whatever their weight.
    """

    def __init__(self, terms: Sequence[WeightedLoss]) -> None:
        super().__init__()
        self.terms = tuple(terms)
        self.losses = nn.ModuleDict({term.name: term.loss for term in terms})

    def forward(self, output: TrainOutput, labels: Tensor, cameras: Tensor) -> tuple[Tensor, Tensor]:
        """The total, a scalar, and (4 + losses) values without gradient in the order of :attr:`shown`.

        Args:
            output: of the network in training mode, for B images.
            labels: (B,) people, from 0.
            cameras: (B,) cameras, only compared with each other.
        """
        values = {}
        pairs: tuple[Tensor, Tensor] | None = None
        for term in self.terms:
            inputs = [getattr(output, name) for name in term.loss.input]  # type: ignore[union-attr]
            people, seen_by = labels, cameras
            if term.gather:
                inputs, people, seen_by = [gathered(value) for value in inputs], gathered(labels), gathered(cameras)
            more = {"cameras": seen_by} if term.loss.cameras else {}
            values[term.name] = term.loss(*inputs, people, **more)
            pairs = getattr(term.loss, "hardest", pairs)
        total = torch.stack([term.weight * values[term.name] for term in self.terms]).sum()
        with torch.no_grad():
            if pairs is None:
                pairs = log_means(*hardest_pairs(output.features.detach(), labels))
            accuracy = (output.logits.argmax(1) == labels).float().mean()
            return total, torch.stack([total, accuracy, *pairs, *values.values()]).detach()

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the values that :meth:`forward` gives."""
        return (*SHOWN, *(term.name for term in self.terms))

import re

import pytest
import torch
from torch import Tensor

from reid.config import load_config
from reid.engine.objective import Objective, make_losses
from reid.errors import InputError
from reid.losses import LOSSES
from reid.losses.pairs import hardest_pairs
from reid.models import TrainOutput

PARAMETERS: dict[str, dict[str, bool | float | None]] = {
    "identity": {"weight": 0.5, "smoothing": 0.2},
    "triplet": {"weight": 2, "margin": 1, "cross_camera": True},
    "centre": {"weight": 0.0005},
    "arcface": {"margin": 0.1},
}


def output_of(batch: int = 8, classes: int = 4, channels: int = 6) -> tuple[TrainOutput, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(batch, channels), (batch, channels), (batch, classes), (classes, channels)]
    output = TrainOutput(*(torch.randn(size, generator=generator).requires_grad_() for size in sizes))
    return output, torch.arange(batch) % classes, torch.arange(batch) // classes


def test_total_is_the_weighted_sum_of_losses_that_read_their_own_part_of_the_output() -> None:
    objective = Objective(make_losses(PARAMETERS, classes=4, channels=6))
    output, labels, cameras = output_of()
    total, shown = objective(output, labels, cameras)
    by_name = {
        "identity": objective.losses["identity"](output.logits, labels),
        "triplet": objective.losses["triplet"](output.features, labels, cameras),
        "centre": objective.losses["centre"](output.features, labels),
        "arcface": objective.losses["arcface"](output.embeddings, output.classes, labels),
    }
    weights = {"identity": 0.5, "triplet": 2, "centre": 0.0005, "arcface": 1}
    assert total.item() == pytest.approx(sum(weights[name] * by_name[name].item() for name in by_name))
    values = dict(zip(objective.shown, shown.tolist(), strict=True))
    assert list(values)[4:] == list(by_name) and values["loss"] == total.item() and not shown.requires_grad
    assert all(values[name] == pytest.approx(value.item()) for name, value in by_name.items())
    assert values["accuracy"] == pytest.approx((output.logits.argmax(1) == labels).float().mean().item())


@pytest.mark.parametrize(
    "names", [("identity",), ("identity", "triplet"), ("triplet", "weighted_triplet"), ("circle",)]
)
def test_hardest_pairs_are_shown_whatever_the_losses_are(names: tuple[str, ...]) -> None:
    objective = Objective(make_losses({name: {} for name in names}, 4, 6))
    output, labels, cameras = output_of()
    values = dict(zip(objective.shown, objective(output, labels, cameras)[1].tolist(), strict=True))
    positive, negative, _ = hardest_pairs(output.features, labels)
    found = (values["hardest_positive"], values["hardest_negative"])
    assert found == (pytest.approx(positive.mean().item()), pytest.approx(negative.mean().item()))


def test_losses_of_weight_0_are_left_out_but_checked() -> None:
    assert [term.name for term in make_losses({**PARAMETERS, "triplet": {"weight": 0}}, 4, 6)] == [
        name for name in PARAMETERS if name != "triplet"
    ]
    with pytest.raises(InputError, match="triplet margin -1"):
        make_losses({"identity": {}, "triplet": {"weight": 0, "margin": -1}}, 4, 6)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_made_by_its_name_alone(name: str) -> None:
    (term,) = make_losses({name: {}}, classes=4, channels=6)
    assert type(term.loss) is LOSSES[name] and term.weight == 1
    output, labels, cameras = output_of()
    Objective([term])(output, labels, cameras)[0].backward()
    assert all(getattr(output, field).grad is not None for field in term.loss.input)


def test_centres_are_parameters_of_the_objective_whose_gradient_has_the_weight() -> None:
    objective = Objective(make_losses({"identity": {}, "centre": {"weight": 0.25}}, classes=4, channels=6))
    (centres,) = objective.parameters()
    output, labels, cameras = output_of()
    objective(output, labels, cameras)[0].backward()
    (unweighted,) = torch.autograd.grad(objective.losses["centre"](output.features, labels), centres)
    assert centres.shape == (4, 6) and centres.grad is not None
    torch.testing.assert_close(centres.grad, 0.25 * unweighted)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("center", {}, f"'center' is not one of {', '.join(LOSSES)}"),
        ("centre", {"rate": 1.0}, "centre: unknown key 'rate'; the keys here are weight"),
        ("centre", {"classes": 9}, "centre: unknown key 'classes'; the keys here are weight"),
        ("arcface", {"gather": True}, "arcface: unknown key 'gather'; the keys here are weight, scale, margin"),
        ("circle", {"gama": 1.0}, "circle: unknown key 'gama'; the keys here are weight, gather, margin, gamma"),
        ("supcon", {"gather": 1}, "supcon.gather: expected true or false, got 1"),
        ("supcon", {"tau": None}, "supcon.tau: expected a number, got None"),
        ("triplet", {"margin": True}, "triplet.margin: expected a number, got True"),
        ("triplet", {"cross_camera": None}, "triplet.cross_camera: expected true or false, got None"),
        ("cosface", {"weight": True}, "cosface.weight: expected a number of at least 0, got True"),
        ("cosface", {"margin": 2.0}, "cosface margin 2.0: wanted a number in [0, 1]"),
        ("cosface", {"weight": 0}, "every loss has weight 0"),
    ],
)
def test_bad_names_keys_and_values(name: str, given: dict[str, bool | float | None], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        make_losses({name: given}, 4, 6)


@pytest.mark.parametrize("name", ["market_bn", "market_ibn_a", "market_ibn_b"])
def test_bag_of_tricks_has_the_centre_loss_and_nothing_else_has(name: str) -> None:
    losses = load_config(f"{name}.yaml").losses
    assert list(losses) == ["identity", "triplet", "centre"] and losses["centre"] == {"weight": 0.0005}
    assert list(load_config("sites_bn.yaml").losses) == ["identity", "triplet"]

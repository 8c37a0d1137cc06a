"""What holds of every loss: taken from LOSSES, so that a new one is tested too."""

import inspect
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from reid.losses import LOSSES

PEOPLE, CHANNELS = 4, 5
PAIRS = [name for name, kind in LOSSES.items() if kind.pairs]
VARIANTS: dict[str, Callable[[], nn.Module]] = {
    **{name: lambda name=name: make(name) for name in LOSSES},
    "triplet, soft margin": lambda: make("triplet", margin=None),
    "triplet, cross camera": lambda: make("triplet", cross_camera=True),
    "weighted_triplet, margin": lambda: make("weighted_triplet", margin=0.3),
}
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique", "_unique2", "bincount"}


def make(name: str, **arguments: object) -> nn.Module:
    sizes = {"classes": PEOPLE, "channels": CHANNELS}
    known = inspect.signature(LOSSES[name]).parameters
    return LOSSES[name](**arguments, **{key: value for key, value in sizes.items() if key in known})


def value_of(loss: nn.Module, fields: dict[str, Tensor], labels: Tensor, cameras: Tensor) -> Tensor:
    more = {"cameras": cameras} if loss.cameras else {}
    return loss(*(fields[name] for name in loss.input), labels, **more)


def batch(seed: int = 0, count: int = 12) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Fields of a network's output, labels and cameras: three images a person, in two or three cameras."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {"features": (count, CHANNELS), "embeddings": (count, CHANNELS), "logits": (count, PEOPLE)}
    sizes |= {"classes": (PEOPLE, CHANNELS)}
    fields = {
        name: torch.randn(size, dtype=torch.float64, generator=generator).requires_grad_()
        for name, size in sizes.items()
    }
    return fields, torch.arange(count) % PEOPLE, torch.arange(count) % 3


class Recorder(TorchDispatchMode):
    """The operations that wait for what a device has computed."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func._schema.name.removeprefix("aten::")
        indices = args[1] if name in {"index", "index_put", "index_put_", "_index_put_impl_"} else ()
        by_truth = any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in indices)
        if name in WAITS or by_truth:
            self.waited.append(name)
        return func(*args, **(kwargs or {}))


def test_the_recorder_sees_what_waits() -> None:
    x = torch.arange(4.0)
    with Recorder() as recorder:
        x[x > 1], x.sum().item(), torch.equal(x, x), bool(x.any()), (x > 1).nonzero(), torch.unique(x)
        x[torch.tensor([0, 1])]
    scalar = "_local_scalar_dense"
    assert recorder.waited == ["index", scalar, "equal", scalar, "nonzero", "_unique2"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_waits_for_the_device(variant: str) -> None:
    loss, (fields, labels, cameras) = VARIANTS[variant](), batch()
    with Recorder() as recorder:
        value_of(loss, fields, labels, cameras).backward()
    assert recorder.waited == []
    assert all(fields[name].grad is not None and fields[name].grad.abs().sum() > 0 for name in loss.input)


@pytest.mark.parametrize("variant", VARIANTS)
def test_value_is_a_scalar_in_float32_under_autocast_too(variant: str) -> None:
    loss, (fields, labels, cameras) = VARIANTS[variant](), batch()
    half = {name: field.detach().bfloat16() for name, field in fields.items()}
    single = {name: field.float() for name, field in half.items()}
    expected = value_of(loss, single, labels, cameras)
    with torch.autocast("cpu", torch.bfloat16):
        for given_fields in (half, single):
            found = value_of(loss, given_fields, labels, cameras)
            assert found.shape == () and found.dtype == torch.float32
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
        assert value_of(loss, fields, labels, cameras).dtype == torch.float64


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_order_of_the_images_and_names_of_the_people_do_not_matter(variant: str, seed: int) -> None:
    loss, (fields, labels, cameras) = VARIANTS[variant]().double(), batch(seed)
    generator = torch.Generator().manual_seed(seed)
    order, renamed = torch.randperm(len(labels), generator=generator), torch.randperm(PEOPLE, generator=generator)
    back = renamed.argsort()
    moved = {name: fields[name][order] for name in ("features", "embeddings")}
    moved["logits"] = fields["logits"][order][:, back]
    moved["classes"] = fields["classes"][back]
    other = VARIANTS[variant]().double()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.copy_(parameter[back].clone())
    found = value_of(other, moved, renamed[labels[order]], cameras[order])
    torch.testing.assert_close(found, value_of(loss, fields, labels, cameras), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "circle"])  # whose weights have no gradient
def test_gradient_by_finite_differences(variant: str) -> None:
    loss, (fields, labels, cameras) = VARIANTS[variant]().double(), batch(3)
    names = list(loss.input)

    def value(*inputs: Tensor) -> Tensor:
        return value_of(loss, dict(zip(names, inputs, strict=True)), labels, cameras)

    assert torch.autograd.gradcheck(value, tuple(fields[name] for name in names))


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.partition(",")[0] in PAIRS])
@pytest.mark.parametrize("labels", [[0, 1, 2], [3, 3, 3], [1]])
def test_batch_without_an_anchor_gives_zero_with_a_gradient_of_zero(variant: str, labels: list[int]) -> None:
    rows = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = VARIANTS[variant]()
    value = value_of(loss, dict.fromkeys(loss.input, rows), torch.tensor(labels), torch.arange(len(labels)))
    value.backward()
    assert value.item() == 0 and rows.grad is not None and (rows.grad == 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_duplicates_and_rows_of_zeros_leave_the_gradient_finite(variant: str) -> None:
    loss, (fields, labels, cameras) = VARIANTS[variant](), batch()
    for content in (0.0, 1.0):
        same = {name: torch.full_like(field, content, requires_grad=True) for name, field in fields.items()}
        value = value_of(loss, same, labels, cameras)
        value.backward()
        assert value.isfinite() and all(same[name].grad.isfinite().all() for name in loss.input)


@pytest.mark.parametrize("variant", VARIANTS)
def test_draws_of_torch_are_left_alone(variant: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    loss, again = VARIANTS[variant](), VARIANTS[variant]()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(loss.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("name", LOSSES)
def test_what_a_loss_says_of_itself(name: str) -> None:
    loss, (fields, _, _) = make(name), batch()
    assert loss.input and set(loss.input) <= set(fields)
    assert not loss.cameras
    assert hasattr(loss, "rate") == bool(list(loss.parameters()))

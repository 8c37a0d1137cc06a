"""Backbones, published weights, and the embedder on top."""

from collections.abc import Callable

from reid.errors import InputError
from reid.models.backbone import Backbone, Embedder, TrainOutput
from reid.models.from_timm import PREFIX, TimmBackbone, check_name
from reid.models.osnet import OSNETS, OSNet
from reid.models.resnet import RESNETS, ResNet

__all__ = ["BACKBONES", "Backbone", "Embedder", "OSNet", "ResNet", "TrainOutput", "check_backbone", "make_backbone"]

# All take num_classes, last_stride, width, mixstyle and pooling:
# BACKBONES["resnet50_ibn_b"](num_classes=None, last_stride=1).
BACKBONES: dict[str, Callable[..., Backbone]] = {**RESNETS, **OSNETS}


def check_backbone(name: str) -> None:
    """
    Raises:
        InputError: ``name`` is neither one of BACKBONES nor ``timm:`` and the name of a network of timm.
    """
    if name.startswith(PREFIX):
        check_name(name.removeprefix(PREFIX))
    elif name not in BACKBONES:
        raise InputError(f"{name!r} is not one of {', '.join(BACKBONES)}, {PREFIX}NAME (a network of timm)")


def make_backbone(
    name: str,
    last_stride: int = 1,
    width: float = 1.0,
    mixstyle: float = 0.0,
    pooling: str = "average",
    size: tuple[int, int] = (256, 128),
) -> Backbone:
    """A backbone without classifier, its weights drawn from torch's generator.

    Args:
        name: one of BACKBONES, or ``timm:NAME``.
        last_stride, width, mixstyle, pooling: of BACKBONES, see :class:`reid.models.resnet.ResNet`. A network of timm
            has none of them and takes their defaults only.
        size: height and width of the images, pixels; only networks of timm depend on it.

    Raises:
        InputError: naming the value and the choices.
    """
    check_backbone(name)
    if not name.startswith(PREFIX):
        return BACKBONES[name](
            num_classes=None, last_stride=last_stride, width=width, mixstyle=mixstyle, pooling=pooling
        )
    published = {"last_stride": 1, "width": 1, "mixstyle": 0, "pooling": "average"}
    for (key, default), value in zip(published.items(), (last_stride, width, mixstyle, pooling), strict=True):
        if value != default:
            raise InputError(f"{key} {value!r}: a network of timm ({name}) is built as published; leave it {default}")
    return TimmBackbone(name.removeprefix(PREFIX), size)

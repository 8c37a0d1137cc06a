"""Backbones, published weights, and the embedder on top."""

from collections.abc import Callable

from reid.models.backbone import Backbone
from reid.models.embedder import Embedder, TrainOutput
from reid.models.osnet import OSNETS, OSNet
from reid.models.resnet import RESNETS, ResNet

__all__ = ["BACKBONES", "Backbone", "Embedder", "OSNet", "ResNet", "TrainOutput"]

# All take num_classes, last_stride, width and mixstyle: BACKBONES["resnet50_ibn_b"](num_classes=None, last_stride=1).
BACKBONES: dict[str, Callable[..., Backbone]] = {**RESNETS, **OSNETS}

"""Backbones, published weights, and the embedder on top."""

from reid.models.embedder import Embedder, TrainOutput
from reid.models.resnet import BACKBONES, ResNet

__all__ = ["BACKBONES", "Embedder", "ResNet", "TrainOutput"]

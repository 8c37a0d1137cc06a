"""ResNet and ResNeXt with batch normalisation (BN), IBN-a or IBN-b: one class, the variant a tuple of four stages.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1; Xie et al., "Aggregated Residual
Transformations", CVPR 2017, table 1; Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via
IBN-Net", ECCV 2018, section 3. State dicts have the names, order and shapes of torchvision's and IBN-Net's published
files, so those load as they are.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from reid.errors import InputError
from reid.models.backbone import Backbone, InstanceNorm, MixStyle, joined_as, make_pooling

Ibn = Literal["a", "b"] | None
Stages = tuple[Ibn, Ibn, Ibn, Ibn]


class IBN(nn.Module):
    """Instance norm on the first half of the channels, batch norm on the rest (Pan et al. 2018, figure 3a).

    Maps (N, C, H, W) to the same shape.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = [channels // 2, channels - channels // 2]
        self.IN = nn.InstanceNorm2d(self.split[0], affine=True)
        self.BN = nn.BatchNorm2d(self.split[1])

    def forward(self, x: Tensor) -> Tensor:
        first, rest = torch.split(x, self.split, dim=1)
        return joined_as(x, self.IN(first.contiguous()), self.BN(rest.contiguous()))


class Block(nn.Module):
    """Residual block: 3x3 and 3x3 convolutions, or as a bottleneck 1x1, 3x3 (grouped) and 1x1, four times as wide.

    Maps (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride). The stride is in the (first) 3x3, as in
    the published weights. `ibn` "a" makes the first norm an IBN, "b" adds an instance norm after the sum with the
    shortcut (Pan et al. 2018, figure 3).
    """

    def __init__(
        self, in_channels: int, inner: int, out_channels: int, stride: int, bottleneck: bool, groups: int, ibn: Ibn
    ) -> None:
        super().__init__()
        kernel, first_stride = (1, 1) if bottleneck else (3, stride)
        self.conv1 = nn.Conv2d(in_channels, inner, kernel, first_stride, padding=kernel // 2, bias=False)
        self.bn1 = IBN(inner) if ibn == "a" else nn.BatchNorm2d(inner)
        if bottleneck:
            self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False)
            self.bn2 = nn.BatchNorm2d(inner)
            self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out_channels)
        else:
            self.conv2 = nn.Conv2d(inner, out_channels, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(out_channels)
        self.bottleneck = bottleneck
        self.IN = InstanceNorm(out_channels) if ibn == "b" else None
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.bottleneck:
            out = self.bn3(self.conv3(self.relu(out)))
        out = out + (x if self.downsample is None else self.downsample(x))
        return self.relu(out if self.IN is None else self.IN(out))


class ResNet(Backbone):
    """Four stages of residual blocks; `ibn` says for each stage whether it is plain (None), IBN-a or IBN-b.

    IBN-a: every block of the stage. IBN-b: the stage's last block; a first stage of "b" also makes the stem's norm an
    instance norm.

    depths:           blocks in each stage.
    bottleneck:       bottleneck blocks (ResNet-50 and deeper) instead of basic ones.
    num_classes:      width of the classifier `fc`; None leaves it out.
    last_stride:      stride of the last stage, 2 as published or 1 (Luo et al. 2019, section 3.4: a larger map).
    width:            factor on all channel counts, 1 as published; the stem gets 64 * width channels, made even so
                      that IBN-a has two equal halves.
    mixstyle:         probability of MixStyle after each of the first two stages (Zhou et al. 2021), in training.
    pooling:          of the last stage's map: average as published, max or gem.
    groups, width_per_group: of the 3x3 convolution of a bottleneck (ResNeXt 32x4d: 32 and 4).

    Raises InputError for a last stride, a width, a pooling or an IBN variant that cannot be built.
    """

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        *,
        bottleneck: bool = False,
        ibn: Stages = (None, None, None, None),
        num_classes: int | None = 1000,
        last_stride: int = 2,
        width: float = 1.0,
        mixstyle: float = 0.0,
        pooling: str = "average",
        groups: int = 1,
        width_per_group: int = 64,
    ) -> None:
        super().__init__()
        if last_stride not in (1, 2):
            raise InputError(f"last_stride {last_stride!r} is not one of [1, 2]")
        if len(ibn) != 4 or not set(ibn) <= {"a", "b", None}:
            raise InputError(f"ibn {ibn!r}: four stages wanted, each 'a', 'b' or None")
        stem = 2 * round(32 * width) if 0 < width <= 16 else 0
        if stem * width_per_group < 64:
            raise InputError(f"width {width!r}: wanted a factor in (0, 16] that leaves a channel in each group")
        self.width = width
        self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = InstanceNorm(stem) if ibn[0] == "b" else nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

        self.channels = stem  # of the map that the stages built so far give; in the end the last stage's

        def stage(index: int, stride: int) -> nn.Sequential:
            planes = stem << index
            inner = planes * width_per_group // 64 * groups if bottleneck else planes
            blocks = []
            for i in range(depths[index]):
                variant = None if ibn[index] == "b" and i < depths[index] - 1 else ibn[index]
                out = planes * 4 if bottleneck else planes
                blocks.append(Block(self.channels, inner, out, stride if i == 0 else 1, bottleneck, groups, variant))
                self.channels = out
            return nn.Sequential(*blocks)

        self.layer1 = stage(0, 1)
        self.layer2 = stage(1, 2)
        self.layer3 = stage(2, 2)
        self.layer4 = stage(3, last_stride)
        self.mixstyle = MixStyle(mixstyle)
        self.pooling = make_pooling(pooling)
        self.fc: nn.Module | None = None if num_classes is None else nn.Linear(self.channels, num_classes)

        for module in self.modules():  # the norms keep torch's 1 and 0, the published ones
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self, x: Tensor) -> list[Tensor]:
        """Outputs of the four stages for images (N, 3, H, W): maps of 1/4, 1/8, 1/16 and 1/32 of the size (the last
        1/16 with last_stride 1)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs = []
        for place, layer in enumerate((self.layer1, self.layer2, self.layer3, self.layer4)):
            x = layer(x)
            if place < 2:
                x = self.mixstyle(x)
            outputs.append(x)
        return outputs

    @property
    def ends_in_instance_norm(self) -> tuple[bool, ...]:
        """For each of the four stages: whether the last thing before its ReLU is an instance norm (IBN-b's are)."""
        last = [layer[-1] for layer in (self.layer1, self.layer2, self.layer3, self.layer4)]
        return tuple(block.IN is not None for block in last)

    def features(self, x: Tensor) -> Tensor:
        """Last stage's map (N, channels, H / 32, W / 32) of images (N, 3, H, W)."""
        return self.stages(x)[-1]

    def pooled(self, x: Tensor) -> Tensor:
        """Vectors (N, channels), pooled from the last stage's map."""
        return self.pooling(self.features(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, 3, H, W), or without a classifier the map that `features` gives."""
        x = self.features(x)
        return x if self.fc is None else self.fc(self.pooling(x))


_A: Stages = ("a", "a", "a", None)
_B: Stages = ("b", "b", None, None)
_B3: Stages = ("b", "b", "b", None)  # no published network: how far does instance norm carry?

# Keyword arguments of ResNet go through: RESNETS["resnet50_ibn_b"](num_classes=None, last_stride=1).
RESNETS: dict[str, Callable[..., ResNet]] = {
    "resnet18": partial(ResNet, (2, 2, 2, 2)),
    "resnet34": partial(ResNet, (3, 4, 6, 3)),
    "resnet50": partial(ResNet, (3, 4, 6, 3), bottleneck=True),
    "resnet101": partial(ResNet, (3, 4, 23, 3), bottleneck=True),
    "resnet152": partial(ResNet, (3, 8, 36, 3), bottleneck=True),
    "resnet18_ibn_a": partial(ResNet, (2, 2, 2, 2), ibn=_A),
    "resnet34_ibn_a": partial(ResNet, (3, 4, 6, 3), ibn=_A),
    "resnet50_ibn_a": partial(ResNet, (3, 4, 6, 3), bottleneck=True, ibn=_A),
    "resnet101_ibn_a": partial(ResNet, (3, 4, 23, 3), bottleneck=True, ibn=_A),
    "resnet152_ibn_a": partial(ResNet, (3, 8, 36, 3), bottleneck=True, ibn=_A),
    "resnet18_ibn_b": partial(ResNet, (2, 2, 2, 2), ibn=_B),
    "resnet34_ibn_b": partial(ResNet, (3, 4, 6, 3), ibn=_B),
    "resnet50_ibn_b": partial(ResNet, (3, 4, 6, 3), bottleneck=True, ibn=_B),
    "resnet101_ibn_b": partial(ResNet, (3, 4, 23, 3), bottleneck=True, ibn=_B),
    "resnet152_ibn_b": partial(ResNet, (3, 8, 36, 3), bottleneck=True, ibn=_B),
    "resnet18_ibn_b3": partial(ResNet, (2, 2, 2, 2), ibn=_B3),
    "resnet50_ibn_b3": partial(ResNet, (3, 4, 6, 3), bottleneck=True, ibn=_B3),
    "resnext50_32x4d": partial(ResNet, (3, 4, 6, 3), bottleneck=True, groups=32, width_per_group=4),
    "resnext101_32x8d": partial(ResNet, (3, 4, 23, 3), bottleneck=True, groups=32, width_per_group=8),
    "resnext50_ibn_a": partial(ResNet, (3, 4, 6, 3), bottleneck=True, groups=32, width_per_group=4, ibn=_A),
    "resnext101_ibn_a": partial(ResNet, (3, 4, 23, 3), bottleneck=True, groups=32, width_per_group=4, ibn=_A),
}

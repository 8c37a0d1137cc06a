"""OSNet, OSNet-IBN and OSNet-AIN: streams of light convolutions of four scales, joined by one gate.

Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019, figures 3 and 4, table 1 (OSNet, its
widths); the same authors, "Learning Generalisable Omni-Scale Representations for Person Re-Identification", TPAMI 2021,
section 4 (IBN and AIN: instance norms by hand, and where a search placed them). State dicts have the names, order and
shapes of the files published with torchreid, so those load as they are.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from reid.errors import InputError
from reid.models.backbone import Backbone, InstanceNorm, MixStyle, make_pooling

Variant = Literal["ibn", "ain"] | None

STEM, INNER = 64, (64, 96, 128)  # channels at width 1: of the stem, inside the blocks of the three stages
EXPANSION = 4  # a block gives four times its inner channels
SCALES = 4  # streams of a block: 1 to 4 light convolutions, receptive fields of 3 to 9
GATE_REDUCTION = 16
EMBEDDING = 512  # width of the published feature
# Blocks whose instance norm lies inside the residual branch (TPAMI 2021, table 2).
AIN_BLOCKS = ((True, True), (False, True), (True, False))


class ConvNorm(nn.Module):
    """Convolution without bias, norm, and a ReLU where `active`; `norm` None leaves the norm out.

    Maps (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        active: bool = True,
        norm: Callable[[int], nn.Module] | None = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = None if norm is None else norm(out_channels)
        self.relu = nn.ReLU(inplace=True) if active else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x if self.bn is None else self.bn(x)
        return x if self.relu is None else self.relu(x)


class LightConv(nn.Module):
    """1x1 convolution, then a 3x3 one of each channel by itself, batch norm and ReLU (ICCV 2019, figure 3b).

    Maps (N, C, H, W) to the same shape.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv2(self.conv1(x))))


class Stream(nn.Module):
    """`depth` light convolutions in a row, under the name `layers` that the published OSNet-AIN files have."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(LightConv(channels) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Gate(nn.Module):
    """Weighs each channel of each image by a number in (0, 1) that depends on all its channels' means (ICCV 2019,
    equation 4). Maps (N, C, H, W) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // GATE_REDUCTION)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * self.fc2(self.relu(self.fc1(means))).sigmoid()


class Block(nn.Module):
    """Residual block: 1x1 convolution, four streams added up by one shared gate, 1x1 convolution (ICCV 2019, figure 4).

    Maps (N, in_channels, H, W) to (N, 4 * inner, H, W). `norm` "outside" is an instance norm after the sum with the
    shortcut, "inside" one in the branch instead of its last batch norm; None is neither. `listed` names the streams
    `conv2.0` to `conv2.3` as OSNet-AIN's files do, else they are `conv2a` to `conv2d`.
    """

    def __init__(
        self, in_channels: int, inner: int, norm: Literal["inside", "outside"] | None = None, listed: bool = False
    ) -> None:
        super().__init__()
        out_channels = EXPANSION * inner
        self.norm, self.listed = norm, listed
        self.conv1 = ConvNorm(in_channels, inner)
        if listed:
            self.conv2 = nn.ModuleList(Stream(inner, depth) for depth in range(1, SCALES + 1))
        else:
            self.conv2a = LightConv(inner)
            self.conv2b = nn.Sequential(*(LightConv(inner) for _ in range(2)))
            self.conv2c = nn.Sequential(*(LightConv(inner) for _ in range(3)))
            self.conv2d = nn.Sequential(*(LightConv(inner) for _ in range(4)))
        self.gate = Gate(inner)
        last = None if norm == "inside" else nn.BatchNorm2d
        self.conv3 = ConvNorm(inner, out_channels, active=False, norm=last)
        self.downsample = None
        if in_channels != out_channels:
            self.downsample = ConvNorm(in_channels, out_channels, active=False)
        self.IN = None if norm is None else InstanceNorm(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        start = self.conv1(x)
        streams = self.conv2 if self.listed else (self.conv2a, self.conv2b, self.conv2c, self.conv2d)
        gated = [self.gate(stream(start)) for stream in streams]
        out = self.conv3(gated[0] + gated[1] + gated[2] + gated[3])
        if self.IN is not None and self.norm == "inside":
            out = self.IN(out)
        out = out + (x if self.downsample is None else self.downsample(x))
        if self.IN is not None and self.norm == "outside":
            out = self.IN(out)
        return self.relu(out)


class OSNet(Backbone):
    """Stem, three stages of two blocks, and a last 1x1 convolution.

    `variant` "ibn" has an instance norm in the stem and after the sum of both blocks of the first stage; "ain" one in
    the stem and inside the branch of the blocks that AIN_BLOCKS marks; None has batch norms alone.

    factor:           on all channel counts: 1, 0.75, 0.5 and 0.25 are published.
    num_classes:      None leaves out what only the published networks have behind the pooling: `fc` (linear, batch
                      norm, ReLU: the published feature of 512 numbers) and `classifier`. An embedder pools the map of
                      `conv5` and has its own neck and classifier.
    last_stride:      1 alone: the last stage does not reduce the map, which is 1/16 of the image's size.
    width:            a further factor on the channel counts.
    mixstyle:         probability of MixStyle after each of the first two stages (Zhou et al. 2021), in training.
    pooling:          of the map of `conv5`: average as published, max or gem.

    Raises InputError for another last stride, an unknown pooling, or a width that leaves no channel.
    """

    def __init__(
        self,
        factor: float = 1.0,
        variant: Variant = None,
        *,
        num_classes: int | None = 1000,
        last_stride: int = 1,
        width: float = 1.0,
        mixstyle: float = 0.0,
        pooling: str = "average",
    ) -> None:
        super().__init__()
        if last_stride != 1:
            raise InputError(f"last_stride {last_stride!r}: OSNet's last stage has no stride to change; choices: 1")
        scale = factor * width if 0 < width <= 16 else 0.0
        inner = [round(channels * scale) for channels in INNER]
        if inner[0] < 1:
            raise InputError(f"width {width!r}: wanted a factor in (0, 16] that leaves a channel in each block")
        self.width = width
        listed = variant == "ain"

        def stage(index: int, in_channels: int) -> list[nn.Module]:
            blocks: list[nn.Module] = []
            for place in range(2):
                norm: Literal["inside", "outside"] | None = None
                if variant == "ibn" and index == 0:
                    norm = "outside"
                elif variant == "ain" and AIN_BLOCKS[index][place]:
                    norm = "inside"
                blocks.append(Block(in_channels, inner[index], norm, listed))
                in_channels = EXPANSION * inner[index]
            return blocks

        first, second, self.channels = (EXPANSION * channels for channels in inner)
        stem = round(STEM * scale)
        stem_norm = nn.BatchNorm2d if variant is None else InstanceNorm
        self.conv1 = ConvNorm(3, stem, 7, stride=2, norm=stem_norm)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        # The halving of the map stands inside the first two stages, in OSNet-AIN's files beside them.
        self.conv2, self.pool2 = _with_halving(stage(0, stem), first, beside=listed)
        self.conv3, self.pool3 = _with_halving(stage(1, first), second, beside=listed)
        self.conv4 = nn.Sequential(*stage(2, second))
        self.conv5 = ConvNorm(self.channels, self.channels)
        self.mixstyle = MixStyle(mixstyle)
        self.pooling = make_pooling(pooling)
        self.fc: nn.Sequential | None = None
        self.classifier: nn.Linear | None = None
        if num_classes is not None:
            self.fc = feature_layer(self.channels)
            self.classifier = nn.Linear(EMBEDDING, num_classes)

        for module in self.modules():  # the norms keep torch's 1 and 0, the published ones
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def stages(self, x: Tensor) -> list[Tensor]:
        """Outputs of conv2 and conv3 (halved), conv4 and conv5 for images (N, 3, H, W): maps of 1/8, 1/16, 1/16 and
        1/16 of the size."""
        x = self.maxpool(self.conv1(x))
        halves = [self.mixstyle(self.pool2(self.conv2(x)))]
        halves.append(self.mixstyle(self.pool3(self.conv3(halves[0]))))
        fourth = self.conv4(halves[1])
        return [*halves, fourth, self.conv5(fourth)]

    @property
    def ends_in_instance_norm(self) -> tuple[bool, ...]:
        """No stage does: after OSNet-IBN's comes a batch norm (of the halving), OSNet-AIN's stand before the sum."""
        return (False,) * 4

    def features(self, x: Tensor) -> Tensor:
        """Map of conv5 (N, channels, H / 16, W / 16) of images (N, 3, H, W)."""
        return self.stages(x)[-1]

    def pooled(self, x: Tensor) -> Tensor:
        """Vectors (N, channels), pooled from the map of conv5."""
        return self.pooling(self.features(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, 3, H, W), or without a classifier the map that `features` gives."""
        if self.fc is None or self.classifier is None:
            return self.features(x)
        return self.classifier(self.fc(self.pooled(x)))


def feature_layer(channels: int) -> nn.Sequential:
    """From pooled (N, channels) to the published feature (N, 512): linear, batch norm, ReLU."""
    linear = nn.Linear(channels, EMBEDDING)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(linear, nn.BatchNorm1d(EMBEDDING), nn.ReLU(inplace=True))


def _with_halving(blocks: list[nn.Module], channels: int, beside: bool) -> tuple[nn.Sequential, nn.Module]:
    halving = nn.Sequential(ConvNorm(channels, channels), nn.AvgPool2d(2, stride=2))
    return (nn.Sequential(*blocks), halving) if beside else (nn.Sequential(*blocks, halving), nn.Identity())


# Keyword arguments of OSNet go through, as those of ResNet do.
OSNETS: dict[str, Callable[..., OSNet]] = {
    "osnet_x1_0": partial(OSNet, 1.0),
    "osnet_x0_75": partial(OSNet, 0.75),
    "osnet_x0_5": partial(OSNet, 0.5),
    "osnet_x0_25": partial(OSNet, 0.25),
    "osnet_ibn_x1_0": partial(OSNet, 1.0, "ibn"),
    "osnet_ain_x1_0": partial(OSNet, 1.0, "ain"),
    "osnet_ain_x0_75": partial(OSNet, 0.75, "ain"),
    "osnet_ain_x0_5": partial(OSNet, 0.5, "ain"),
    "osnet_ain_x0_25": partial(OSNet, 0.25, "ain"),
}

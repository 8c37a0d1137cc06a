"""MixStyle: in training, each image takes on part of another's style, so that style tells the network nothing.

Zhou et al., "Domain Generalization with MixStyle", ICLR 2021, section 2.2.
"""

import torch
from torch import Tensor, nn

EPSILON = 1e-6  # below the variance, as published


class MixStyle(nn.Module):
    """Maps (N, C, H, W) to the same shape; the identity in evaluation mode.

    With `probability`, per batch: each image's mean and standard deviation per channel become a mixture of its own and
    those of another image of the batch, weighted by a draw from Beta(`alpha`, `alpha`). No gradient flows through the
    statistics. Draws come from torch's CPU generator, whatever the device.
    """

    def __init__(self, probability: float = 0.5, alpha: float = 0.1) -> None:
        super().__init__()
        self.probability, self.alpha = probability, alpha

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0 or torch.rand((), device="cpu").item() >= self.probability:
            return x
        concentration = torch.full((len(x), 1, 1, 1), self.alpha, device="cpu")
        weight = torch.distributions.Beta(concentration, concentration).sample().to(x.device)
        other = torch.randperm(len(x), device="cpu").to(x.device)
        variance, mean = torch.var_mean(x.detach().float(), dim=(2, 3), keepdim=True)
        deviation = (variance + EPSILON).sqrt()
        mixed_mean = weight * mean + (1 - weight) * mean[other]
        mixed_deviation = weight * deviation + (1 - weight) * deviation[other]
        return ((x - mean) / deviation * mixed_deviation + mixed_mean).to(x.dtype)

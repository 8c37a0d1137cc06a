"""A person who walks through images: dressed once, posed for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid.sites.rendered.body.body import load_body
from reid.sites.rendered.body.pose import bone_matrices, sample_pose
from reid.sites.rendered.image import Posed
from reid.sites.rendered.wear.dress import Dressed, dress
from reid.sites.rendered.wear.outfit import Wardrobe
from reid.sites.rendered.wear.people import sample_person


@dataclass(frozen=True)
class Walker:
    """Somebody with clothes and a gait; a :class:`reid.sites.rendered.image.Figure`."""

    dressed: Dressed

    def posed(self, rng: np.random.Generator) -> Posed:
        shown = self.dressed.shown(rng)
        pose = sample_pose(rng, shown.person.habits, shown.carrying)
        matrices = bone_matrices(shown.body, shown.shape, pose, shown.clearance)
        return Posed(*shown.posed(matrices, rng), shown)


def sample_walker(rng: np.random.Generator, wardrobe: Wardrobe) -> Walker:
    """Somebody drawn by lot, dressed for the season."""
    return Walker(dress(sample_person(rng, wardrobe), load_body()))

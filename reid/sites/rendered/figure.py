"""A person who walks through images: dressed once, posed for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid.sites.rendered.body import load_body
from reid.sites.rendered.dress import Dressed, dress
from reid.sites.rendered.image import Posed
from reid.sites.rendered.outfit import Wardrobe
from reid.sites.rendered.people import sample_person
from reid.sites.rendered.pose import Carrying, Habits, bone_matrices, sample_habits, sample_pose


@dataclass(frozen=True)
class Walker:
    """Somebody with clothes and a gait; a :class:`reid.sites.rendered.image.Figure`."""

    dressed: Dressed
    habits: Habits

    def posed(self, rng: np.random.Generator) -> Posed:
        pose = sample_pose(rng, self.habits, Carrying.NOTHING)
        matrices = bone_matrices(self.dressed.body, self.dressed.shape, pose)
        return Posed(*self.dressed.posed(matrices, rng), self.dressed)


def sample_walker(rng: np.random.Generator, wardrobe: Wardrobe) -> Walker:
    """Somebody drawn by lot, dressed for the season."""
    person = sample_person(rng, wardrobe)
    return Walker(dress(person, load_body()), sample_habits(rng))

"""A person as a mesh: the bare skin that shows, and what is worn over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numba as nb
import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered import paint
from reid.sites.rendered.body import Body, Shape
from reid.sites.rendered.garments import (
    HIPS,
    bottom_mesh,
    collar_mesh,
    hung,
    hung_from,
    neck_ring,
    neckline,
    opening,
    tights_mesh,
    top_mesh,
    trouser_surface,
)
from reid.sites.rendered.mesh import Label, Mesh, chosen, join
from reid.sites.rendered.outfit import Bottom, Top
from reid.sites.rendered.people import Person
from reid.sites.rendered.surface import Form, Region, form
from reid.sites.rendered.tails import Tail, hang, make_tail

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Mask = NDArray[np.bool_]


class Fragments(Protocol):
    """What is read of the pixels of a rendered person."""

    @property
    def labels(self) -> Ints: ...  # (N,)
    @property
    def coords(self) -> Floats: ...  # (N, 4)
    @property
    def normals(self) -> Floats: ...  # (N, 3)


@nb.njit(cache=True)
def _skin(vertices: Floats, bones: Ints, weights: Floats, matrices: Floats) -> Floats:
    out = np.zeros_like(vertices)
    for i in range(len(vertices)):
        for k in range(bones.shape[1]):
            w = weights[i, k]
            if w <= 0:
                continue
            m = matrices[bones[i, k]]
            for row in range(3):
                out[i, row] += w * (
                    m[row, 0] * vertices[i, 0] + m[row, 1] * vertices[i, 1] + m[row, 2] * vertices[i, 2] + m[row, 3]
                )
    return out


@dataclass(frozen=True)
class Dressed:
    """A person's mesh at rest, how it is posed and what colours it has."""

    person: Person
    body: Body
    shape: Shape
    mesh: Mesh  # all that moves with the bones
    tails: tuple[Tail, ...]  # what hangs, from inside out
    coords: Floats  # (V, 4) of posed vertices
    faces: Ints  # (T, 3)
    labels: Ints  # (T,)

    def posed(self, matrices: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, Ints, Ints]:
        """Vertices (V, 3), coords (V, 4), faces (T, 3) and labels (T,) on a body moved by `matrices` (B, 4, 4)."""
        phase = float(rng.uniform(0, 2 * np.pi))
        moved = [_skin(self.mesh.vertices, self.mesh.bones, self.mesh.weights, matrices.astype(np.float32))]
        inner = None
        for tail in self.tails:
            vertices, inner = hang(tail, self.body, self.shape, matrices, phase, inner)
            moved.append(vertices)
        return np.concatenate(moved), self.coords, self.faces, self.labels

    def paint(self, fragments: Fragments) -> Floats:
        """Albedo (N, 3), sRGB 0 to 1."""
        return paint.paint(self.person, fragments.labels, fragments.coords)

    def fold(self, fragments: Fragments, rng: np.random.Generator) -> Floats:
        """What the folds of cloth add to the normals (N, 3) before they are brought to length 1 again."""
        phase = (float(rng.random()), float(rng.random()))
        return paint.folds(self.person, fragments.labels, fragments.coords, fragments.normals, phase)


def _within(values: Floats, faces: Ints) -> Mask:
    """Faces all of whose vertices have positive values."""
    return np.asarray((values[faces] > 0).all(1), np.bool_)


def _covered_by_top(top: Top, coords: Floats) -> Floats:
    """Positive (N,) at coords (N, 4) of torso and arms that lie well below a garment."""
    inside = np.minimum(neckline(top, coords) - coords[:, 2] - 0.06, coords[:, 2] - top.hem - 0.05)
    if top.gap:
        inside = np.minimum(inside, opening(top, coords) - 0.05)
    arm = coords[:, 3] > 0.02
    return np.where(arm, top.sleeve - coords[:, 3] - 0.08, inside).astype(np.float32)


def _covered_by_bottom(bottom: Bottom, coords: Floats) -> Floats:
    low = HIPS if bottom.skirt else bottom.hem
    low = -0.9 if bottom.tights is not None else low + 0.05
    return np.minimum(bottom.rise - 0.04 - coords[:, 2], coords[:, 2] - low).astype(np.float32)


def _bare(skin: Form, person: Person) -> Mesh:
    """The body's skin, without what clothes cover."""
    outfit = person.outfit
    hidden = np.zeros(len(skin.faces), np.bool_)
    trunk = (skin.face_regions == Region.TORSO) | (skin.face_regions == Region.ARM)
    for top in (outfit.top, outfit.outer):
        if top is not None:
            hidden |= trunk & _within(_covered_by_top(top, skin.coords), skin.faces)
    below = (skin.face_regions == Region.TORSO) | (skin.face_regions == Region.LEG)
    hidden |= below & _within(_covered_by_bottom(outfit.bottom, skin.coords), skin.faces)
    mesh = Mesh(skin.vertices, skin.bones, skin.weights, skin.coords, skin.faces, skin.face_regions)
    return chosen(mesh, ~hidden)


def _tail(body: Body, shape: Shape, cloth: Form, surface: Floats, label: Label, top: Top) -> Tail:
    return make_tail(
        body,
        shape,
        cloth,
        surface,
        label,
        top.hem,
        ease=top.ease,
        flare=top.flare,
        cling=0.3 * top.cling,
        pleats=0,
        gap=top.gap,
    )


def dress(person: Person, body: Body) -> Dressed:
    """The mesh of a person at rest, made once an identity."""
    outfit = person.outfit
    bottom, top, outer = outfit.bottom, outfit.top, outfit.outer
    shape = body.shaped(person.phenotype)
    skin, cloth = form(body, shape, "body"), form(body, shape, "tights")
    meshes, tails = [_bare(skin, person)], []
    surface, root = cloth.vertices, body.bone("root")
    if bottom.tights is not None:
        meshes.append(tights_mesh(cloth, surface))

    def wear_bottom(surface: Floats) -> Floats:
        if bottom.skirt:
            out = hung(cloth, surface, bottom.ease, 0.3)
            on_hips = (cloth.regions == Region.TORSO) & (cloth.coords[:, 2] < bottom.rise + 0.03)
            out = np.where(on_hips[:, None], out, surface)
            tails.append(
                make_tail(
                    body,
                    shape,
                    cloth,
                    out,
                    Label.SKIRT,
                    bottom.hem,
                    ease=0.012,
                    flare=bottom.flare,
                    cling=max(0.0, 0.1 - bottom.flare),
                    pleats=bottom.pleats,
                    gap=0.0,
                )
            )
        else:
            out = trouser_surface(body, shape, cloth, surface, bottom)
        made = bottom_mesh(cloth, out, bottom)
        meshes.append(hung_from(made, root) if bottom.skirt else made)
        return out

    def wear_top(surface: Floats, top: Top, outer: bool) -> Floats:
        out = hung(cloth, surface, top.ease, top.cling)
        beyond = cloth.coords[:, 3] > top.sleeve + 0.1
        out[beyond] = surface[beyond]
        legs = (cloth.regions == Region.LEG) | (cloth.regions == Region.FOOT)
        out[legs] = surface[legs]
        label, sleeve = (Label.OUTER, Label.OUTER_SLEEVE) if outer else (Label.UPPER, Label.UPPER_SLEEVE)
        made = top_mesh(cloth, out, top, label, sleeve)
        meshes.append(hung_from(made, root) if top.hem < HIPS else made)
        if top.collar:
            meshes.append(collar_mesh(cloth, out, top))
        if top.hood:
            meshes.append(neck_ring(body, shape, True, top.ease))
        if top.hem < HIPS and not top.tucked:
            tails.append(_tail(body, shape, cloth, out, Label.OUTER_TAIL if outer else Label.UPPER_TAIL, top))
        return out

    tucked = top.tucked
    surface = wear_bottom(wear_top(surface, top, False)) if tucked else wear_top(wear_bottom(surface), top, False)
    if outer is not None:
        surface = wear_top(surface, outer, True)
    if outfit.scarf is not None:
        meshes.append(neck_ring(body, shape, False, 0.004))
    mesh = join(meshes)
    starts = np.cumsum([len(mesh.vertices), *(len(tail.coords) for tail in tails)])
    return Dressed(
        person,
        body,
        shape,
        mesh,
        tuple(tails),
        np.concatenate([mesh.coords, *(tail.coords for tail in tails)]),
        np.concatenate([mesh.faces, *(t.faces + np.int32(s) for t, s in zip(tails, starts[:-1], strict=True))]),
        np.concatenate([mesh.labels, *(np.full(len(tail.faces), int(tail.label), np.int32) for tail in tails)]),
    )

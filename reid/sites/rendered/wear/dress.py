"""A person as a mesh: the bare skin that shows, and what is worn over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered.body.body import Body, Shape
from reid.sites.rendered.body.pose import Carrying
from reid.sites.rendered.body.skeleton import skin
from reid.sites.rendered.wear import paint
from reid.sites.rendered.wear.bags import HANGING, bag_mesh, carried, hanging
from reid.sites.rendered.wear.garments import (
    HIPS,
    bottom_mesh,
    collar_mesh,
    hung,
    hung_from,
    neckline,
    opening,
    scarf_mesh,
    tights_mesh,
    top_mesh,
    trouser_surface,
)
from reid.sites.rendered.wear.hats import hood_mesh
from reid.sites.rendered.wear.head import head_mesh
from reid.sites.rendered.wear.mesh import Label, Mesh, chosen, join
from reid.sites.rendered.wear.outfit import Bottom, Outfit, Top
from reid.sites.rendered.wear.people import Person
from reid.sites.rendered.wear.shoes import hidden_feet, shoes_mesh
from reid.sites.rendered.wear.surface import Form, Region, form
from reid.sites.rendered.wear.tails import Tail, hang, make_tail

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


@dataclass(frozen=True)
class Dressed:
    """A person's mesh at rest, how it is posed and what colours it has."""

    person: Person
    body: Body
    shape: Shape
    bag: bool  # whether the bag is carried
    mesh: Mesh  # all that moves with the bones
    tails: tuple[Tail, ...]  # what hangs, from inside out
    coords: Floats  # (V, 4) of posed vertices: the mesh's, the tails', the bag's if it hangs from a hand
    faces: Ints  # (T, 3)
    labels: Ints  # (T,)
    put_down: Dressed | None  # the same without the bag; None: there is no bag

    def shown(self, rng: np.random.Generator) -> Dressed:
        """As in one image, whose generator `rng` is: with the bag or without."""
        there = carried(rng, self.person.bag)
        return self if there or self.put_down is None else self.put_down

    @property
    def carrying(self) -> Carrying:
        """What the arms have to do with the bag."""
        bag = self.person.bag
        return _ARMS.get((bag.kind, bag.side), Carrying.NOTHING) if self.bag else Carrying.NOTHING

    @property
    def clearance(self) -> float:
        """Metres that clothes stand off the torso."""
        return _clearance(self.person.outfit)

    def posed(self, matrices: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, Ints, Ints]:
        """Vertices (V, 3), coords (V, 4), faces (T, 3) and labels (T,) on a body moved by `matrices` (B, 4, 4).

        Bare soles would stand at z = 0; shoes reach below it. `rng` is the image's: it turns the folds of what hangs.
        """
        phase = float(rng.uniform(0, 2 * np.pi))
        matrices = matrices.astype(np.float32)
        moved = [skin(self.mesh.vertices, self.mesh.bones, self.mesh.weights, matrices)]
        inner = None
        for tail in self.tails:
            vertices, inner = hang(tail, self.body, self.shape, matrices, phase, inner)
            moved.append(vertices)
        if self.bag and self.person.bag.kind in HANGING:
            ground = float(moved[0][:, 2].min())  # of the shoes
            moved.append(hanging(self.person.bag, self.body, self.shape, matrices, ground))
        return np.concatenate(moved), self.coords, self.faces, self.labels

    def paint(self, fragments: Fragments) -> Floats:
        """Albedo (N, 3), sRGB 0 to 1."""
        return paint.paint(self.person, self.bag, fragments.labels, fragments.coords)

    def fold(self, fragments: Fragments, rng: np.random.Generator) -> Floats:
        """What the folds of cloth add to the normals (N, 3) before they are brought to length 1 again."""
        phase = (float(rng.random()), float(rng.random()))
        return paint.folds(self.person, fragments.labels, fragments.coords, fragments.normals, phase)


_ARMS: dict[tuple[str, int], Carrying] = {
    ("backpack", 1): Carrying.STRAPS,
    ("backpack", -1): Carrying.STRAPS,
    ("shoulder", 1): Carrying.LEFT_STRAP,
    ("shoulder", -1): Carrying.RIGHT_STRAP,
    **{(kind, 1): Carrying.LEFT_HAND for kind in HANGING},
    **{(kind, -1): Carrying.RIGHT_HAND for kind in HANGING},
}


def _clearance(outfit: Outfit) -> float:
    return outfit.top.ease + (outfit.outer.ease if outfit.outer is not None else 0.0)


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


def _bare(body: Body, naked: Form, person: Person) -> Mesh:
    """The body's skin, without what clothes cover."""
    outfit = person.outfit
    hidden = hidden_feet(body, person.shoes)
    trunk = (naked.face_regions == Region.TORSO) | (naked.face_regions == Region.ARM)
    for top in (outfit.top, outfit.outer):
        if top is not None:
            hidden |= trunk & _within(_covered_by_top(top, naked.coords), naked.faces)
    below = (naked.face_regions == Region.TORSO) | (naked.face_regions == Region.LEG)
    hidden |= below & _within(_covered_by_bottom(outfit.bottom, naked.coords), naked.faces)
    mesh = Mesh(naked.vertices, naked.bones, naked.weights, naked.coords, naked.faces, naked.face_regions)
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
    naked, cloth = form(body, shape, "body"), form(body, shape, "tights")
    meshes, tails = [_bare(body, naked, person)], []
    surface, root, clearance = cloth.vertices, body.bone("root"), _clearance(outfit)
    hooded = (top.hood or (outer is not None and outer.hood)) and person.head.hat.kind != "hood"
    if bottom.tights is not None:
        meshes.append(tights_mesh(cloth, surface, bool(person.shoes.open)))

    def wear_bottom(below: Floats) -> Floats:
        """Put it on over the surface `below` (V, 3); returns the new one."""
        if bottom.skirt:
            out = hung(cloth, below, bottom.ease, 0.3)
            on_hips = (cloth.regions == Region.TORSO) & (cloth.coords[:, 2] < bottom.rise + 0.03)
            out = np.where(on_hips[:, None], out, below)
            tails.append(
                make_tail(
                    body,
                    shape,
                    cloth,
                    out,
                    Label.SKIRT,
                    bottom.hem,
                    ease=0.03,
                    flare=bottom.flare,
                    cling=max(0.0, 0.1 - bottom.flare),
                    pleats=bottom.pleats,
                    gap=0.0,
                )
            )
        else:
            out = trouser_surface(body, shape, cloth, below, bottom)
        made = bottom_mesh(cloth, out, bottom)
        meshes.append(hung_from(made, root) if bottom.skirt else made)
        return out

    def wear_top(below: Floats, top: Top, outer: bool) -> Floats:
        """The same for what is worn on the torso."""
        out = hung(cloth, below, top.ease, top.cling)
        beyond = cloth.coords[:, 3] > top.sleeve + 0.1
        out[beyond] = below[beyond]
        legs = (cloth.regions == Region.LEG) | (cloth.regions == Region.FOOT)
        out[legs] = below[legs]
        label, sleeve = (Label.OUTER, Label.OUTER_SLEEVE) if outer else (Label.UPPER, Label.UPPER_SLEEVE)
        made = top_mesh(cloth, out, top, label, sleeve)
        meshes.append(hung_from(made, root) if top.hem < HIPS else made)
        if top.collar:
            meshes.append(collar_mesh(cloth, out, top, Label.OUTER_COLLAR if outer else Label.UPPER_COLLAR))
        if top.hood and person.head.hat.kind != "hood":
            meshes.append(hood_mesh(body, shape, clearance, 0.8 + 10 * top.ease))
        if top.hem < HIPS and not top.tucked:
            tails.append(_tail(body, shape, cloth, out, Label.OUTER_TAIL if outer else Label.UPPER_TAIL, top))
        return out

    tucked = top.tucked
    surface = wear_bottom(wear_top(surface, top, False)) if tucked else wear_top(wear_bottom(surface), top, False)
    if outer is not None:
        surface = wear_top(surface, outer, True)
    if outfit.scarf is not None:
        meshes.append(scarf_mesh(body, shape, outfit.scarf_end, clearance))
    meshes += [shoes_mesh(person.shoes, body, shape), head_mesh(person.head, body, shape, clearance, hooded)]
    alone = _assembled(person, body, shape, meshes, tails, None, None)
    if person.bag.kind == "none":
        return alone
    return _assembled(person, body, shape, meshes, tails, bag_mesh(person.bag, body, shape, clearance), alone)


def _assembled(
    person: Person,
    body: Body,
    shape: Shape,
    meshes: list[Mesh],
    tails: list[Tail],
    bag: Mesh | None,
    put_down: Dressed | None,
) -> Dressed:
    """What hangs comes after what moves with the bones."""
    hangs = bag is not None and person.bag.kind in HANGING
    mesh = join(meshes if bag is None or hangs else [*meshes, bag])
    coords, faces, labels = [mesh.coords], [mesh.faces], [mesh.labels]
    count = len(mesh.vertices)
    for tail in tails:
        coords.append(tail.coords)
        faces.append(tail.faces + np.int32(count))
        labels.append(np.full(len(tail.faces), int(tail.label), np.int32))
        count += len(tail.coords)
    if bag is not None and hangs:
        coords.append(bag.coords)
        faces.append(bag.faces + np.int32(count))
        labels.append(bag.labels)
    return Dressed(
        person,
        body,
        shape,
        bag is not None,
        mesh,
        tuple(tails),
        np.concatenate(coords),
        np.concatenate(faces),
        np.concatenate(labels),
        put_down,
    )

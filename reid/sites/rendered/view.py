"""Where a camera hangs, how it sees one person, and which box a detector cuts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid.sites.compiled import compiled
from reid.sites.rendered.raster import Floats, bounds

# Of the camera's height above a person's middle: nobody is nearer, so that no view is steeper than 40 degrees.
_STEEPEST = 1.2


@dataclass(frozen=True)
class Mount:
    """How one camera hangs and what its detector cuts; every image scatters around it.

    Attributes:
        height: above the ground, metres.
        distance: of people along the ground, metres, the median.
        headings: which way people go, radians; 0 comes towards the camera, pi / 2 goes to the image's right.
        heading_scatter: of those who follow a heading, radians.
        wandering: share of people who go anywhere, 0..1.
        roll: of the image, radians, what a lens off its axis adds included.
        margin: of a box around the person, as a share of its height; below 0 it cuts.
        margin_scatter: of that, from box to box.
        aspect: least width of a box as a share of its height.
        jitter: of a box's centre, as a share of its size.
        cut: share of boxes that lose feet or, a quarter of them, the head.
    """

    height: float
    distance: float
    headings: tuple[float, ...]
    heading_scatter: float
    wandering: float
    roll: float
    margin: float
    margin_scatter: float
    aspect: float
    jitter: float
    cut: float


@dataclass(frozen=True)
class Aim:
    """The lots of one image, whoever it shows.

    Attributes:
        azimuth: of the person about the vertical, radians; 0 faces the camera.
        height: of the camera above the ground, metres.
        distance: of the person along the ground, metres.
        roll: radians.
        margin: of the box above and below the person, as a share of its height.
        aspect: least width of the box as a share of its height.
        shift: of the box's centre to the right and down, as a share of its size.
        zoom: of the box's width and height, around 1, as detectors err.
        lost: of the person's height above and below the box, as shares.
    """

    azimuth: float
    height: float
    distance: float
    roll: float
    margin: float
    aspect: float
    shift: tuple[float, float]
    zoom: tuple[float, float]
    lost: tuple[float, float]


@dataclass(frozen=True)
class View:
    """A pinhole camera before a person who stands at the world's origin, with the window that is cut out.

    The camera is at (0, -distance, height), looks along +y, downwards. `right` .. `forward` are its axes.
    """

    eye: Floats  # (3,)
    axes: Floats  # (3, 3), rows: right, down, forward
    centre: tuple[float, float]  # of the window, in tangents of the angles to the axis
    size: tuple[float, float]  # width and height of the window, in the same
    height: int  # of the image, pixels
    width: int

    def project(self, points: Floats) -> Floats:
        """Column, row (pixels) and 1 / depth (1 / metres; 0 or less: behind the camera) of points (N, 3)."""
        scale = (self.width / self.size[0], self.height / self.size[1])
        return _project(points, self.eye, self.axes, self.centre, scale, (self.width / 2, self.height / 2))


@compiled
def _project(
    points: Floats,
    eye: Floats,
    axes: Floats,
    centre: tuple[float, float],
    scale: tuple[float, float],
    middle: tuple[float, float],
) -> Floats:
    out = np.empty((points.shape[0], 3), np.float32)
    for i in range(points.shape[0]):
        x, y, z = points[i, 0] - eye[0], points[i, 1] - eye[1], points[i, 2] - eye[2]
        depth = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z
        nearness = np.float32(1) / depth if depth > 0.05 else np.float32(0)
        right = axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z
        down = axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z
        out[i, 0] = (right * nearness - centre[0]) * scale[0] + middle[0]
        out[i, 1] = (down * nearness - centre[1]) * scale[1] + middle[1]
        out[i, 2] = nearness
    return out


def sample_aim(rng: np.random.Generator, mount: Mount) -> Aim:
    """Draw the lots of one image."""
    heading = mount.headings[int(rng.integers(len(mount.headings)))] + rng.normal(0, mount.heading_scatter)
    anywhere, wanders = rng.uniform(0, 2 * np.pi), rng.random() < mount.wandering
    distance = mount.distance * np.exp(np.clip(rng.normal(0, 0.25), -0.5, 0.5))
    roll = rng.normal(0, mount.roll)
    margin = max(-0.03, rng.normal(mount.margin, mount.margin_scatter))
    aspect = mount.aspect * np.exp(rng.normal(0, 0.05))
    right, down = mount.jitter * rng.normal(0, (1.0, 0.5)).clip(-2, 2)  # detectors err less along a person
    wide, high = np.exp(rng.normal(0, 0.03, 2))
    cut, share, of_head = rng.random() < mount.cut, rng.uniform(0.04, 0.22), rng.random() < 0.25
    lost = share if cut else 0.0
    return Aim(
        azimuth=float(anywhere if wanders else heading) % (2 * np.pi),
        height=float(mount.height * np.exp(rng.normal(0, 0.03))),
        distance=float(max(distance, _STEEPEST * (mount.height - 0.9))),
        roll=float(roll),
        margin=float(margin),
        aspect=float(aspect),
        shift=(float(right), float(down)),
        zoom=(float(wide), float(high)),
        lost=(0.4 * float(lost), 0.0) if of_head else (0.0, float(lost)),
    )


def turned(vertices: Floats, azimuth: float) -> Floats:
    """Points (N, 3) turned about the vertical, counter-clockwise seen from above, and set on the ground."""
    cos, sin = np.float32(np.cos(azimuth)), np.float32(np.sin(azimuth))
    x, y = vertices[:, 0], vertices[:, 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y, vertices[:, 2] - vertices[:, 2].min()], axis=1)


def make_view(aim: Aim, vertices: Floats, height: int, width: int) -> View:
    """The camera that sees a person (V, 3), turned and on the ground, in an image of height x width pixels.

    The box fits the person seen, loosened, shifted and stretched as `aim` says; it is stretched to the image's shape.
    """
    middle = np.array([0, 0, vertices[:, 2].max() / 2], np.float32)
    eye = np.array([0, -aim.distance, aim.height], np.float32)
    forward = (middle - eye) / np.linalg.norm(middle - eye)
    flat = np.array([1, 0, 0], np.float32)
    below = np.cross(forward, flat)
    cos, sin = np.cos(aim.roll), np.sin(aim.roll)
    axes = np.stack([cos * flat + sin * below, cos * below - sin * flat, forward]).astype(np.float32)
    whole = View(eye, axes, (0.0, 0.0), (1.0, 1.0), 1, 1)
    low, high = (corner[:2] - 0.5 for corner in bounds(whole.project(vertices)))
    low[1], high[1] = low[1] + aim.lost[0] * (high[1] - low[1]), high[1] - aim.lost[1] * (high[1] - low[1])
    box_height = float(high[1] - low[1]) * (1 + 2 * aim.margin) * aim.zoom[1]
    box_width = max(float(high[0] - low[0]) * (1 + 2 * aim.margin) * aim.zoom[0], aim.aspect * box_height)
    centre = (
        float(low[0] + high[0]) / 2 + aim.shift[0] * box_width,
        float(low[1] + high[1]) / 2 + aim.shift[1] * box_height,
    )
    return View(eye, axes, centre, (box_width, box_height), height, width)

"""Rotations and directions of three numbers, double precision."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

MIRROR = np.diag([-1.0, 1.0, 1.0])  # left is right


def about_x(angle: float) -> Doubles:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def about_y(angle: float) -> Doubles:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def about_z(angle: float) -> Doubles:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def about(axis: Doubles, angle: float) -> Doubles:
    """Rotation about a unit vector (3,)."""
    x, y, z = (float(value) for value in axis)
    c, s = math.cos(angle), math.sin(angle)
    d = 1 - c
    return np.array(
        [
            [c + x * x * d, x * y * d - z * s, x * z * d + y * s],
            [x * y * d + z * s, c + y * y * d, y * z * d - x * s],
            [x * z * d - y * s, y * z * d + x * s, c + z * z * d],
        ]
    )


def turned(angles: tuple[float, float, float]) -> Doubles:
    """Rotation of yaw, pitch, roll."""
    yaw, pitch, roll = angles
    return about_z(yaw) @ about_y(roll) @ about_x(pitch)


def cross(a: Doubles, b: Doubles) -> Doubles:
    """Vector product of two (3,); numpy's own takes ten times as long for so few numbers."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def unit(vector: Doubles) -> Doubles:
    return vector / math.sqrt(float(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2))


def frame(along: Doubles, hinge: Doubles) -> Doubles:
    """(3, 3) orthonormal columns: ``along`` (unit), ``hinge`` made orthogonal to it, and the third."""
    side = unit(hinge - along * (hinge @ along))
    return np.stack([along, side, cross(along, side)], 1)


def mirrored(rotation: Doubles, side: int) -> Doubles:
    """The right side's rotation (3, 3) or matrix (4, 4) of one made for the left, or back; the left's as it is."""
    if not side:
        return rotation
    signs = np.array([-1.0, 1.0, 1.0, 1.0])[: len(rotation)]
    return rotation * signs[:, None] * signs

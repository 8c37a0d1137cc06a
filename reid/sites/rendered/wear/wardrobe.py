"""Kinds of garments for the torso: how common they are, how they are cut and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass

from reid.sites.rendered.wear import palette
from reid.sites.rendered.wear.palette import Mix


@dataclass(frozen=True)
class Kind:
    """What garments of one name have in common. Pairs are ranges of the values of outfit.Top, metres where not said."""

    share: tuple[float, float]  # how common: men, women; relative to the others
    mix: Mix  # of the cloth's colour
    plain: float  # share without a pattern
    sleeve: tuple[float, float]  # 0 shoulder, 1 wrist
    ease: tuple[float, float]
    cling: tuple[float, float]  # 0 straight down, 1 fitted
    hem: tuple[float, float]  # height: 0.2 waist, 0 hips, -0.32 knees, -0.74 ankles
    drop: tuple[float, float] = (0.015, 0.05)  # of the neckline in front
    folds: float = 1.0  # how soft: 1 a cotton shirt
    collar: tuple[float, float] = (0.0, 0.0)
    vee: float = 0.0  # probabilities from here on
    open: float = 0.0
    hood: float = 0.0
    quilted: float = 0.0
    tucked: float = 0.0
    printed: float = 0.0  # with a print in front
    contrast: float = 0.06  # sleeves or yoke of another colour
    flare: float = 0.06  # half the most that it widens below the hips, metres a metre


_LONG = (0.93, 1.0)
TOPS: dict[str, Kind] = {
    "t-shirt": Kind((34, 26), palette.TOP, 0.68, (0.26, 0.46), (0.004, 0.013), (0.15, 0.7), (-0.10, 0.02),
        printed=0.45),
    "polo": Kind((8, 3), palette.TOP, 0.7, (0.28, 0.46), (0.004, 0.012), (0.2, 0.7), (-0.09, 0.0),
        collar=(0.03, 0.04)),
    "shirt": Kind((16, 8), palette.TOP, 0.5, _LONG, (0.004, 0.013), (0.2, 0.8), (-0.15, 0.0), collar=(0.03, 0.045),
        tucked=0.45, folds=1.2, contrast=0.02),
    "rolled shirt": Kind((6, 4), palette.TOP, 0.5, (0.5, 0.78), (0.004, 0.014), (0.2, 0.7), (-0.15, 0.0),
        collar=(0.03, 0.045), tucked=0.35, folds=1.2, contrast=0.02),
    "jumper": Kind((12, 14), palette.TOP, 0.6, _LONG, (0.007, 0.017), (0.15, 0.7), (-0.09, 0.04), folds=0.7,
        vee=0.25),
    "sweatshirt": Kind((8, 6), palette.TOP, 0.75, _LONG, (0.01, 0.022), (0.0, 0.4), (-0.06, 0.03), folds=0.8,
        printed=0.45, contrast=0.14),
    "hooded jumper": Kind((9, 7), palette.TOP, 0.85, _LONG, (0.011, 0.023), (0.0, 0.4), (-0.07, 0.02), folds=0.8,
        printed=0.4, hood=0.95, contrast=0.1),
    "turtleneck": Kind((2, 5), palette.TOP, 0.8, _LONG, (0.005, 0.013), (0.4, 0.9), (-0.06, 0.04), drop=(0.0, 0.0),
        folds=0.7, collar=(0.05, 0.08), tucked=0.3),
    "blouse": Kind((0, 11), palette.TOP, 0.5, (0.3, 1.0), (0.006, 0.018), (0.1, 0.7), (-0.14, 0.03),
        drop=(0.03, 0.09), folds=1.3, vee=0.5, tucked=0.3, flare=0.15),
    "sleeveless": Kind((2, 7), palette.TOP, 0.7, (0.0, 0.06), (0.003, 0.01), (0.2, 0.9), (-0.08, 0.04),
        drop=(0.04, 0.12), tucked=0.2),
    "tunic": Kind((0.5, 6), palette.TOP, 0.55, (0.3, 1.0), (0.006, 0.014), (0.1, 0.5), (-0.30, -0.16), flare=0.18),
}  # fmt: skip
OUTERS: dict[str, Kind] = {
    "blouson": Kind((18, 10), palette.OUTER_MILD, 0.93, _LONG, (0.01, 0.022), (0.0, 0.35), (-0.05, 0.05), folds=0.9,
        collar=(0.03, 0.06), open=0.45, contrast=0.12),
    "zipped hood": Kind((13, 10), palette.OUTER_MILD, 0.9, _LONG, (0.009, 0.019), (0.0, 0.4), (-0.07, 0.02),
        folds=0.9, hood=0.97, open=0.5, contrast=0.12),
    "track jacket": Kind((7, 5), palette.OUTER_MILD, 0.97, _LONG, (0.007, 0.014), (0.1, 0.4), (-0.06, 0.02),
        collar=(0.04, 0.06), open=0.35, contrast=0.4),
    "denim jacket": Kind((4, 5), {"denim": 4, "dark denim": 3, "pale denim": 2, "black": 1}, 1.0, _LONG,
        (0.007, 0.016), (0.1, 0.5), (-0.03, 0.07), collar=(0.035, 0.05), open=0.75, contrast=0.03),
    "suit jacket": Kind((10, 6), {"black": 5, "navy": 4, "charcoal": 4, "grey": 2, "beige": 0.7, "brown": 0.5}, 0.85,
        _LONG, (0.009, 0.017), (0.2, 0.6), (-0.15, -0.07), drop=(0.12, 0.2), folds=0.6, collar=(0.03, 0.04), vee=1.0,
        open=0.6, contrast=0.0),
    "down jacket": Kind((14, 13), palette.OUTER_WINTER, 0.99, _LONG, (0.02, 0.04), (0.0, 0.3), (-0.09, 0.03),
        folds=0.5, collar=(0.05, 0.08), open=0.25, hood=0.5, quilted=0.75),
    "parka": Kind((8, 10), palette.OUTER_WINTER, 0.97, _LONG, (0.014, 0.03), (0.0, 0.25), (-0.34, -0.14), folds=0.7,
        collar=(0.04, 0.07), open=0.3, hood=0.85, contrast=0.04),
    "wool coat": Kind((7, 14), palette.OUTER_WINTER, 0.86, _LONG, (0.013, 0.024), (0.0, 0.4), (-0.56, -0.2),
        drop=(0.06, 0.16), folds=0.6, collar=(0.04, 0.06), vee=0.8, open=0.4, contrast=0.0, flare=0.1),
    "long down coat": Kind((2, 8), palette.OUTER_WINTER, 1.0, _LONG, (0.02, 0.036), (0.0, 0.2), (-0.62, -0.36),
        folds=0.5, collar=(0.05, 0.08), open=0.15, hood=0.7, quilted=0.85, contrast=0.0),
    "trench": Kind((2, 6), {"beige": 5, "khaki": 3, "navy": 2, "black": 3, "olive": 1}, 1.0, _LONG, (0.01, 0.019),
        (0.1, 0.5), (-0.5, -0.25), drop=(0.06, 0.12), folds=0.9, collar=(0.04, 0.06), vee=0.8, open=0.45,
        contrast=0.0, flare=0.14),
    "cardigan": Kind((3, 13), palette.TOP, 0.75, _LONG, (0.006, 0.016), (0.0, 0.4), (-0.38, 0.02), drop=(0.1, 0.2),
        folds=0.8, vee=0.9, open=0.9, contrast=0.0),
    "gilet": Kind((5, 5), palette.OUTER_WINTER, 1.0, (0.0, 0.04), (0.014, 0.025), (0.0, 0.3), (-0.05, 0.03),
        folds=0.5, collar=(0.04, 0.07), open=0.5, quilted=0.7, contrast=0.0),
    "overshirt": Kind((6, 5), palette.OUTER_MILD, 0.55, _LONG, (0.007, 0.014), (0.05, 0.4), (-0.15, -0.04),
        collar=(0.03, 0.045), open=0.85, folds=1.1),
    "rain jacket": Kind((5, 5), palette.VIVID, 1.0, _LONG, (0.01, 0.022), (0.0, 0.3), (-0.14, -0.02), folds=1.1,
        collar=(0.04, 0.06), open=0.25, hood=0.9, contrast=0.2),
}  # fmt: skip

COOL_TOPS = ("t-shirt", "polo", "shirt", "rolled shirt", "blouse", "sleeveless", "tunic")
# what is worn over them, by how warm it is; a few people dress against the weather
WARM_OUTERS = (
    "down jacket", "parka", "wool coat", "long down coat", "gilet", "trench", "blouson", "zipped hood", "suit jacket",
)  # fmt: skip
MILD_OUTERS = tuple(name for name in OUTERS if name not in ("long down coat", "down jacket", "wool coat"))
LIGHT_OUTERS = (
    "blouson", "zipped hood", "track jacket", "denim jacket", "suit jacket", "cardigan", "overshirt", "rain jacket",
)  # fmt: skip

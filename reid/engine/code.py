"""Which code made a network or a figure: digests of the sources that decide it.

The package's version stays the same while its code changes. What is digested is the syntax tree without docstrings and
comments, written out here: neither formatting nor the version of Python changes it, nor whether it was read from a
checkout or an installed wheel.
"""

from __future__ import annotations

import ast
import hashlib
import logging
from dataclasses import replace
from functools import cache
from pathlib import Path

import reid
from reid.engine.checkpoint import Progress
from reid.errors import InputError

log = logging.getLogger(__name__)

CODES = ", then "  # between the digests of a run that went on by other code
PACKAGE = Path(reid.__file__).resolve().parent
# Folders stand for the modules directly in them.
NETWORK = ("models", "data", "engine/build.py", "engine/extract.py")
TRAINING = (
    *NETWORK,
    "losses",
    *(f"engine/{name}.py" for name in ("checkpoint", "distributed", "objective", "state", "train")),
)
RANKING = ("retrieval",)
VALIDATION = RANKING
FEATURES = (
    *NETWORK,
    "engine/adabn.py",
    "engine/checkpoint.py",
    "evaluation/adapted.py",
    "networks",
    "networks/peers",
    "retrieval/features.py",
)
FIGURES = ("evaluation/evaluate.py", "evaluation/results.py", *RANKING)
MOMENTS = ("evaluation/moments.py",)
# Whatever these decide stands in the fingerprint of the data (names, sizes, identities and cameras), or is no figure.
LEFT_OUT = (
    {
        f"data/{name}.py"
        for name in (
            *("__init__", "card", "check", "contact_sheet", "layouts", "manifest", "names", "reading"),
            *("schema", "times", "unlabelled"),
        )
    }
    | {f"networks/{name}.py" for name in ("__init__", "base", "export", "shipped")}
    | {"retrieval/compressed.py"}
)


def training_code(validated: bool) -> str:
    """Twelve hexadecimal digits of what decides a trained network; ``validated``: one chosen on held-out people."""
    return digest(PACKAGE, (*TRAINING, *VALIDATION) if validated else TRAINING)


def features_code() -> str:
    """Twelve hexadecimal digits of what decides the features of images by a given network."""
    return digest(PACKAGE, FEATURES)


def figures_code() -> str:
    """Twelve hexadecimal digits of what decides the figures of given features."""
    return digest(PACKAGE, FIGURES)


def moments_code() -> str:
    """Twelve hexadecimal digits of what decides the moments of given images by a given network, features aside."""
    return digest(PACKAGE, MOMENTS)


@cache
def digest(package: Path, parts: tuple[str, ...]) -> str:
    """Twelve hexadecimal digits over the sources of some modules and folders of ``package``.

    Raises:
        InputError: a source that is not there or cannot be read.
    """
    names = set()
    for part in parts:
        below = (package / part).glob("*.py") if (package / part).is_dir() else [package / part]
        names |= {path.relative_to(package).as_posix() for path in below}
    lines = [f"{name} {_digest_of(package / name)}\n" for name in sorted(names - LEFT_OUT)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


@cache
def _digest_of(source: Path) -> str:
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{source}: cannot be read to tell which code is at work: {error}") from None
    return hashlib.sha256(canonical(tree).encode(errors="surrogatepass")).hexdigest()


def canonical(node: object) -> str:
    """The tree as text, without docstrings, positions and empty fields: those differ between versions of Python."""
    if isinstance(node, list):
        return "[" + ",".join(canonical(item) for item in node if not _is_comment(item)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!r}"
    named = ((name, getattr(node, name, None)) for name in node._fields if name != "type_comment")
    kept = (f"{name}={canonical(value)}" for name, value in named if value is not None and value != [])
    return f"{type(node).__name__}({','.join(kept)})"


def _is_comment(node: object) -> bool:
    """Whether it is a text that stands for itself, as docstrings do."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def say_other_code(folder: Path, made: str, now: str) -> None:
    """Say once that a finished run is not what training anew would give."""
    if made != now:
        log.warning(
            f"{folder}: finished, but made by other code ({made}; this is {now}): training it anew may give another "
            "network. Delete the folder, or choose another run=NAME, to do so"
        )


def with_code(folder: Path, stored: Progress, now: str) -> Progress:
    """The stored state, with the code that goes on with it on record."""
    if stored.code.split(CODES)[-1] == now:
        return stored
    log.warning(
        f"{folder}: was begun by other code ({stored.code}; this is {now}): it goes on, but may not end as it "
        "would have by one of the two; its checkpoint and results say so"
    )
    return replace(stored, code=f"{stored.code}{CODES}{now}")

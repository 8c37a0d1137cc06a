"""Person re-identification across camera domains: train on one, test on others.

From other programs (docs/python.md); the names in ``__all__`` are the stable part:

    model = reid.load("runs/x")
    features = model(frame, boxes)

An image's way through the package:

    data        file -> card (path, identity, camera, split) -> transforms -> batches
    models      batch -> embedder: backbone (ResNet, OSNet, timm's; BN, IBN-a or IBN-b), pooling, BNNeck
    losses      what the embedder is trained with
    config      base.yaml < extended file < config file < key=value
    engine      build (config -> objects) · train · checkpoint · extract (images -> features)
    networks    a run, or what others made: crops in, features out; export: a run as a file
    retrieval   Features -> ranked lists (FAISS), exact CMC, mAP, mINP
    evaluation  a network x targets -> results.json
    gallery     entries that last: crops and videos -> store -> answers, thresholds, web page
    report      tables, plots, the page of a benchmark
    api         what other programs call
    commands    what each command reads and prints; cli puts them together
"""

from importlib import import_module

from reid.errors import InputError

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "Entry",
    "Filter",
    "Gallery",
    "InputError",
    "Model",
    "__version__",
    "evaluate",
    "load",
    "open_gallery",
]


def __getattr__(name: str) -> object:
    """What is not here yet comes from reid/api.py when it is first asked for: it loads the network's packages. Their
    types are in __init__.pyi."""
    if name not in __all__:
        raise AttributeError(f"module 'reid' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module("reid.api"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

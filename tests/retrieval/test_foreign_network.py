"""The evaluator on features that this project did not make: a public re-ID network over real photographs.

Run with ``-s`` to see the figures. The published protocol: all 74 people, camera 1 against camera 2, cosine, float32.
"""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT

from reid.cli import main
from reid.data.card import load_card
from reid.data.reading import read_dataset
from reid.data.samples import Samples
from reid.retrieval.features import Features

SHARED = Path(os.environ.get("REID_SHARED", ROOT.parent / "shared"))
NETWORK = SHARED / "models" / "openvino" / "person-reidentification-retail-0265.xml"
RESIZE = "cv2.resize to 128 x 256 (width x height), INTER_LINEAR, of uint8 BGR"


def embed(samples: Samples) -> Features:
    """Features (N, 256) of the network: input (1, 3, 256, 128) BGR, 0 to 255."""
    openvino = pytest.importorskip("openvino", reason="openvino is not installed (pip install -e '.[dev]')")
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    network = openvino.Core().compile_model(NETWORK, "CPU", settings)
    rows = []
    for path in samples.paths:
        image = cv2.resize(cv2.imread(str(path)), (128, 256), interpolation=cv2.INTER_LINEAR)
        rows.append(network(image.transpose(2, 0, 1)[None].astype(np.float32))[0][0])
    return Features(np.stack(rows).astype(np.float32), samples.pids, samples.camids, samples.names)


@pytest.mark.skipif(not NETWORK.exists(), reason="the foreign network and PKU-Reid are not beside the checkout")
def test_a_public_network_scores_its_published_figures(tmp_path, capsys):
    splits = read_dataset(load_card("pku_reid_all"), SHARED / "data", tmp_path).splits
    for split in ("query", "gallery"):
        embed(splits[split]).save(tmp_path / f"{split}.npz")
    command = ["score", "--query", tmp_path / "query.npz", "--gallery", tmp_path / "gallery.npz"]
    assert main([*map(str, command), "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    with capsys.disabled():
        print(
            f"\n{NETWORK.stem} on pku_reid_all, {RESIZE}: rank-1 {100 * figures['cmc'][0]:.1f}, "
            f"mAP {100 * figures['mAP']:.1f}, mINP {100 * figures['mINP']:.1f}"
        )
    assert (figures["num_valid_queries"], figures["num_gallery"]) == (592, 592)
    assert 100 * figures["cmc"][0] == pytest.approx(91.7, abs=0.6)
    assert 100 * figures["mAP"] == pytest.approx(79.2, abs=1.0)

"""Small ONNX networks and their descriptions, written for a test."""

import numpy as np
import pytest
import yaml

onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install -e '.[dev]')")
pytest.importorskip("openvino", reason="openvino is not installed (pip install -e '.[dev]')")

FEED = {"height": 4, "width": 2, "colour": "rgb", "scale": 255}


def save_onnx(path, nodes, outputs, constants, shape=("N", 3, 4, 2), inputs=("image",), takes="FLOAT", gives="FLOAT"):
    """Write a graph; ``outputs`` maps names to shapes, ``constants`` names to arrays."""
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node(operation, own, [out], **rest) for operation, own, out, rest in nodes],
        "tiny",
        [helper.make_tensor_value_info(name, getattr(kinds, takes), shape) for name in inputs],
        [helper.make_tensor_value_info(name, getattr(kinds, gives), shape) for name, shape in outputs.items()],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def mean_colours(path, weights, shape=("N", 3, 4, 2)):
    """A network whose feature is ``weights`` (D, 3) times the mean of the input's channels: (N, D, 1, 1); also
    `flat`, (N, D)."""
    nodes = [
        ("Conv", ["image", "weights"], "maps", {}),
        ("GlobalAveragePool", ["maps"], "feature", {}),
        ("Flatten", ["feature"], "flat", {}),
    ]
    width = len(weights)
    outputs = {"feature": (None, width, 1, 1), "flat": (None, width), "maps": (None, width, None, None)}
    return save_onnx(path, nodes, outputs, {"weights": np.float32(weights)[:, :, None, None]}, shape)


def typed(path, takes="FLOAT", gives="FLOAT", shape=("N", 3, 4, 2)):
    """A network whose feature is the mean of the input's channels, (N, 3), for an input of any type."""
    nodes = [
        ("Cast", ["image"], "real", {"to": onnx.TensorProto.FLOAT}),
        ("GlobalAveragePool", ["real"], "pooled", {}),
        ("Flatten", ["pooled"], "flat", {}),
        ("Cast", ["flat"], "feature", {"to": getattr(onnx.TensorProto, gives)}),
    ]
    return save_onnx(path, nodes, {"feature": (None, 3)}, {}, shape, takes=takes, gives=gives)


def describe(path, **keys):
    """Write the YAML of a network file beside it."""
    own = path.with_suffix(".yaml")
    own.write_text(yaml.safe_dump({"file": path.name, **FEED, **keys}))
    return own

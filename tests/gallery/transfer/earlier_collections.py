"""A gallery on Milvus as the earlier version wrote it."""

import base64
import json
from dataclasses import asdict

from pymilvus import DataType, MilvusClient

NO_TIME = -1e300
TEXTS = {"identity": 1024, "camera": 1024, "source": 8192, "box": 128}


def write(uri, collection, origin, entries, features, images, settings=(), condemned=()):
    """Both collections, new: entries with ids, (N, D) features of length 1, JPEGs; stretches of condemned ids."""
    client = MilvusClient(uri)
    fields = client.create_schema(auto_id=False, enable_dynamic_field=False)
    fields.add_field("id", DataType.INT64, is_primary=True)
    fields.add_field("vector", DataType.FLOAT_VECTOR, dim=origin.width)
    for name, length in TEXTS.items():
        fields.add_field(name, DataType.VARCHAR, max_length=length)
    fields.add_field("known", DataType.BOOL)
    for name in ("time", "until", "last", "added"):
        fields.add_field(name, DataType.DOUBLE)
    fields.add_field("frame", DataType.INT64)
    texts = client.create_schema(auto_id=False, enable_dynamic_field=False)
    texts.add_field("key", DataType.VARCHAR, max_length=512, is_primary=True)
    texts.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    texts.add_field("value", DataType.VARCHAR, max_length=65_535)
    for name, schema in ((collection, fields), (f"{collection}_texts", texts)):
        client.create_collection(name, schema=schema, consistency_level="Strong")
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        client.create_index(name, index_params=index, sync=False)
        client.load_collection(name)
    client.insert(collection, [_row(entry, feature) for entry, feature in zip(entries, features, strict=True)])
    values = {"origin": json.dumps({"format": 1, **asdict(origin)}), "next": str(entries[-1].id + 1)}
    values |= {f"setting:{name}": text for name, text in dict(settings).items()}
    values |= {f"condemned:{number}": json.dumps([pair]) for number, pair in enumerate(condemned)}
    values |= {
        f"thumbnail:{entry.id}": base64.b64encode(image).decode() for entry, image in zip(entries, images, strict=True)
    }
    client.insert(
        f"{collection}_texts", [{"key": key, "value": value, "vector": [0.0, 1.0]} for key, value in values.items()]
    )
    client.close()


def _row(entry, feature):
    times = {name: NO_TIME if getattr(entry, name) is None else getattr(entry, name) for name in ("time", "until")}
    return {
        "id": entry.id, "vector": feature.tolist(), "identity": entry.identity or "",
        "known": entry.identity is not None, "camera": entry.camera, "source": entry.source, **times,
        "last": times["time"] if entry.until is None else times["until"],
        "frame": -1 if entry.frame is None else entry.frame,
        "box": "" if entry.box is None else json.dumps(list(entry.box)), "added": entry.added,
    }  # fmt: skip

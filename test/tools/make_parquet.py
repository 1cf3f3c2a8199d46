"""Parquet files of images as Hugging Face's `datasets` writes them: `python make_parquet.py OUT_DIRECTORY [--rows 30]`.

Image k is 6 x 6 px, RGB, all of it of the colour (k, 2k, 255 - k). Needs pyarrow and Pillow.
"""
import argparse
import io
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NAMES = ["cat", "dog", "ship"]


def encoded(k, kind="PNG"):
    out = io.BytesIO()
    Image.new("RGB", (6, 6), (k % 256, 2 * k % 256, (255 - k) % 256)).save(out, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return out.getvalue()


def write(path, images, labels, names, compression, group):
    columns = {"img": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))}
    features = {"img": {"_type": "Image"}}
    if labels is not None:
        columns["label"] = pa.array(labels)
        features["label"] = {"names": names, "_type": "ClassLabel"} if names else {"dtype": "int64", "_type": "Value"}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, compression=compression, row_group_size=group)


parser = argparse.ArgumentParser()
parser.add_argument("directory")
parser.add_argument("--rows", type=int, default=30)
args = parser.parse_args()
os.makedirs(args.directory, exist_ok=True)


def at(name):
    return os.path.join(args.directory, name)


rows = [{"bytes": encoded(k), "path": f"{k}.png"} for k in range(args.rows)]
labels = [k % 3 for k in range(args.rows)]
half = args.rows // 2
write(at("train-00000-of-00002.parquet"), rows[:half], labels[:half], NAMES, "snappy", 7)
write(at("train-00001-of-00002.parquet"), rows[half:], labels[half:], NAMES, "zstd", 100)
write(at("test-00000-of-00001.parquet"), rows[:4], [-1] * 4, NAMES, "gzip", 4)
holes = [{"bytes": None, "path": "2.png"} if k == 2 else {"bytes": rows[k]["bytes"][:40], "path": None} if k == 4 else rows[k] for k in range(8)]
write(at("holes.parquet"), holes, [None if k == 5 else k % 3 for k in range(8)], None, "none", 3)
pq.write_table(
    pa.table({"image": [encoded(k, "WEBP") for k in range(5)], "label": ["b", "a", "b", "c", "a"], "fine_label": [1, 2, 3, 4, 5]}),
    at("plain.parquet"),
    compression="brotli",
)
pq.write_table(pa.table({"a": [1, 2]}), at("numbers.parquet"))

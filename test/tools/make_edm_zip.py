"""EDM data sets as the published tool lays them out, and a reader of ours: `python make_edm_zip.py write OUT.zip [--count 12] [--size 8] [--deflate]
[--no-labels]` and `python make_edm_zip.py read IN.zip`, which prints what zipfile and Pillow make of it as JSON.

Pixel (y, x) of image k has the colour (k, 16 y, 16 x) modulo 256; its label is k modulo 3. Needs Pillow.
"""
import argparse
import hashlib
import io
import json
import zipfile

from PIL import Image


def name_of(k):
    digits = f"{k:08d}"
    return f"{digits[:5]}/img{digits}.png"


def write(args):
    method = zipfile.ZIP_DEFLATED if args.deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(args.path, "w", compression=method) as archive:
        for k in range(args.count):
            image = Image.new("RGB", (args.size, args.size))
            image.putdata([(k % 256, 16 * y % 256, 16 * x % 256) for y in range(args.size) for x in range(args.size)])
            encoded = io.BytesIO()
            image.save(encoded, format="png", compress_level=0, optimize=False)
            archive.writestr(name_of(k), encoded.getvalue())
        labels = None if args.no_labels else [[name_of(k), k % 3] for k in range(args.count)]
        archive.writestr("dataset.json", json.dumps({"labels": labels}))


def read(args):
    with zipfile.ZipFile(args.path) as archive:
        damaged = archive.testzip()
        entries = []
        for info in archive.infolist():
            entry = {"name": info.filename, "method": info.compress_type}
            if info.filename.endswith(".png"):
                with archive.open(info) as file, Image.open(file) as image:
                    pixels = image.tobytes()
                    entry.update(mode=image.mode, size=list(image.size), sha256=hashlib.sha256(pixels).hexdigest())
            entries.append(entry)
        labels = json.loads(archive.read("dataset.json"))["labels"]
    print(json.dumps({"damaged": damaged, "entries": entries, "labels": labels}))


parser = argparse.ArgumentParser()
parser.add_argument("action", choices=["write", "read"])
parser.add_argument("path")
parser.add_argument("--count", type=int, default=12)
parser.add_argument("--size", type=int, default=8)
parser.add_argument("--deflate", action="store_true")
parser.add_argument("--no-labels", action="store_true")
args = parser.parse_args()
{"write": write, "read": read}[args.action](args)

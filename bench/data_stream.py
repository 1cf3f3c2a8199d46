"""PyTorch's side of data-stream.ts: makes the data set, and reads it with a DataLoader and Pillow; prints JSON."""
import argparse
import io
import json
import time
import zipfile

import numpy as np
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("action", choices=["make", "read"])
parser.add_argument("path")
parser.add_argument("--count", type=int, default=50_000)
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--batch", type=int, default=256)
parser.add_argument("--seconds", type=float, default=10)
options = parser.parse_args()


def smooth_images(generator, count):
    """Colour noise of 4x4 points, enlarged to 32x32, with a little noise of every pixel: about 2 kB as PNG."""
    coarse = generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    for image in coarse:
        large = np.asarray(Image.fromarray(image).resize((32, 32), Image.BICUBIC), dtype=np.int16)
        yield Image.fromarray(np.clip(large + generator.integers(-3, 4, large.shape), 0, 255).astype(np.uint8))


def make():
    generator = np.random.default_rng(0)
    labels = []
    with zipfile.ZipFile(options.path, "w", zipfile.ZIP_STORED) as archive:
        for index, image in enumerate(smooth_images(generator, options.count)):
            name = f"{index // 1000:05d}/img{index:08d}.png"
            buffer = io.BytesIO()
            image.save(buffer, format="png")
            archive.writestr(name, buffer.getbuffer())
            labels.append([name, index % 10])
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    print(json.dumps({}))


def read():
    import torch

    class Images(torch.utils.data.Dataset):
        def __init__(self):
            self.archive = None
            with zipfile.ZipFile(options.path) as archive:
                self.names = sorted(name for name in archive.namelist() if name.endswith(".png"))
                labels = dict(json.loads(archive.read("dataset.json"))["labels"])
                self.labels = [labels[name] for name in self.names]

        def __len__(self):
            return len(self.names)

        def __getitem__(self, index):
            if self.archive is None:  # one for each worker
                self.archive = zipfile.ZipFile(options.path)
            with self.archive.open(self.names[index]) as file:
                return np.array(Image.open(file)), self.labels[index]

    loader = torch.utils.data.DataLoader(
        Images(), batch_size=options.batch, shuffle=True, num_workers=options.workers, drop_last=True, prefetch_factor=2
    )

    def forever():
        while True:
            yield from loader

    batches = forever()
    images, _ = next(batches)
    assert images.shape == (options.batch, 32, 32, 3) and images.dtype == torch.uint8
    start, seen = time.perf_counter(), 0
    while time.perf_counter() - start < options.seconds:
        seen += len(next(batches)[0])
    print(json.dumps({"rate": seen / (time.perf_counter() - start)}))


make() if options.action == "make" else read()

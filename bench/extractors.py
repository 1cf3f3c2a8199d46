"""PyTorch's side of extractors.ts: images a second of the same networks, prepared as their published code does; prints JSON."""
import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "test", "tools"))
import numpy as np
import torch

parser = argparse.ArgumentParser()
parser.add_argument("--network", required=True)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--repeats", type=int, default=5)
options = parser.parse_args()
torch.set_num_threads(options.threads)
from make_extractor_goldens import NETWORKS  # noqa: E402

network = NETWORKS[{"inception-v3": "inception-v3", "clip-vit-b32": "clip-hf", "dinov2-vit-l14": "dinov2-meta"}[options.network]]()
images = np.random.default_rng(0).integers(0, 256, (options.batch, 32, 32, 3), dtype=np.uint8)
rates = []
with torch.no_grad():
    for _ in range(options.repeats + 1):
        start = time.perf_counter()
        network.results(0, images)
        rates.append(options.batch / (time.perf_counter() - start))
print(json.dumps(rates[1:]))

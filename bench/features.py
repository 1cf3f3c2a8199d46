"""PyTorch's side of features.ts: the same passes with torchvision's and timm's networks; prints JSON."""
import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "test", "tools"))
import torch
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--network", required=True)
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--repeats", type=int, default=5)
options = parser.parse_args()
torch.set_num_threads(options.threads)
from make_feature_goldens import create  # noqa: E402

network, (mean, std) = create(options.network)
mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (mean, std))
images = torch.rand(options.batch, 3, 32, 32) * 2 - 1


def features(x):
    x = F.interpolate(x, 224, mode="bilinear", align_corners=False)
    return network(((x + 1) / 2 - mean) / std)


with torch.no_grad():
    heads = [torch.randn(m.shape[1]) / m.shape[1] ** 0.5 for m in features(images)]
x = images.clone().requires_grad_()
for head in heads:
    head.requires_grad_()


def judged():
    return sum(F.softplus((m * h.reshape(1, -1, 1, 1)).sum(1)).mean() for m, h in zip(features(x), heads))


def forward():
    with torch.no_grad():
        features(images)


def gradient():
    torch.autograd.grad(judged(), x)


def r1():
    (slope,) = torch.autograd.grad(judged(), x, create_graph=True)
    torch.autograd.grad(slope.square().sum(), heads)


def measure(f):
    times = []
    for i in range(options.repeats + 1):
        start = time.perf_counter()
        f()
        times.append((time.perf_counter() - start) * 1000)
    return times[1:]


print(json.dumps({"forward": measure(forward), "gradient": measure(gradient), "r1": measure(r1)}))

"""What torchvision and timm make of random weights, in float32 and in float64: for bench/feature-parity.ts.

    python test/tools/make_feature_parity.py OUT NETWORK [--weights library] [--seed 0] [--size 224] [--batch 2] [--threads 2]

Weights: `library`, the library's own first values, with many activations at the kinks of ReLU; `away`, those of
make_feature_goldens.py, with activations far from them. Images are noise in [-1, 1], `size` pixels wide, resized to 224.
OUT/weights.safetensors has the weights under their published names, and those of DeiT's readout; OUT/io.safetensors, NCHW:

    images, cotangent.K
    stage.K, gradient                  float32: the maps, and the gradient of sum_K <stage.K, cotangent.K> for the images
    float64.stage.K, float64.gradient  the same in double precision, of the same float32 weights
"""
import argparse
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

sys.path.insert(0, os.path.dirname(__file__))
from make_feature_goldens import create, library, measure, stages  # noqa: E402


def prepared(images, normalisation):
    mean, std = (torch.tensor(v, dtype=images.dtype).reshape(1, 3, 1, 1) for v in normalisation)
    resized = F.interpolate(images, 224, mode="bilinear", align_corners=False)
    return ((resized + 1) / 2 - mean) / std


def compute(network, normalisation, images, cotangents, dtype):
    network.to(dtype)
    x = images.to(dtype).requires_grad_()
    maps = network(prepared(x, normalisation))
    if not cotangents:
        cotangents += [torch.randn(m.shape) / m[0].numel() ** 0.5 for m in maps]
    value = sum((m * c.to(dtype)).sum() for m, c in zip(maps, cotangents))
    (gradient,) = torch.autograd.grad(value, x)
    return [m.detach().float() for m in maps], gradient.float()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("network")
    parser.add_argument("--weights", choices=("library", "away"), default="library")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    images = torch.rand(options.batch, 3, options.size, options.size) * 2 - 1
    if options.weights == "library":
        network, normalisation = stages(options.network, library(options.network).eval().requires_grad_(False))
    else:
        network, normalisation = create(options.network, "%d." % options.seed)
        measure(network, prepared(images, normalisation))
    weights = {key: value.float().contiguous() for key, value in network.network.state_dict().items() if value.dtype.is_floating_point}
    weights.update({"readout." + key: value for key, value in getattr(network, "readout", torch.nn.Module()).state_dict().items()})
    weights = {key: value for key, value in weights.items() if not key.startswith(("classifier.", "head", "conv_head.", "bn2."))}

    cotangents = []
    tensors = {"images": images}
    for prefix, dtype in (("", torch.float32), ("float64.", torch.float64)):
        maps, gradient = compute(network, normalisation, images, cotangents, dtype)
        tensors[prefix + "gradient"] = gradient
        tensors.update({prefix + "stage.%d" % k: m for k, m in enumerate(maps)})
    tensors.update({"cotangent.%d" % k: c for k, c in enumerate(cotangents)})
    os.makedirs(options.out, exist_ok=True)
    save_file(weights, os.path.join(options.out, "weights.safetensors"))
    save_file({key: value.contiguous() for key, value in tensors.items()}, os.path.join(options.out, "io.safetensors"))

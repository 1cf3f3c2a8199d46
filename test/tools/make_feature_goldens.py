"""Golden vectors of the feature networks, from torchvision's and timm's own implementations.

    python test/tools/make_feature_goldens.py OUT [--networks vgg16_bn ...] [--full] [--float64]

Weights, images and heads are not stored: every value is a hash of its tensor's name and of its index, see `hashed`, which
test/support/hashed-weights.ts computes too. Only the statistics of batch normalisation are measured, and stored in half
precision: what enters an activation then lies close to 3 or -3, far from where ReLU and ReLU6 have their kinks. An activation at a kink
answers to rounding, and the gradients of two correct implementations, or of PyTorch in float32 and in float64, differ by
3e-3. OUT/NAME.safetensors holds these statistics and, for two images of 32x32 (NCHW):

    stage.K              the stage's output; without --full at SAMPLES places of it
    stage.K.norm         its L2 norm
    gradient             of sum(logits) for the images; logits[b] = sum_K mean_hw softplus(sum_c stage.K * head.K)
    penalty              mean_b |gradient[b]|^2, and its gradients for the images and the heads:
    penalty.images, penalty.head.K

Made in float32; with --float64 in double precision, to tell whose rounding a difference is.
"""
import argparse
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

sys.path.insert(0, os.path.dirname(__file__))
import cpu_torchvision  # noqa: E402,F401
import timm  # noqa: E402
import timm.layers  # noqa: E402
import torchvision  # noqa: E402

# Attention in one fused operation has no second derivative.
timm.layers.set_fused_attn(False)

SAMPLES = 600
LITE = ["tf_efficientnet_lite%d" % i for i in range(5)]
DEIT = ["deit_%s_distilled_patch16_224" % size for size in ("tiny", "small", "base")]
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
READOUT = [96, 192, 384, 768]


def hashed(name, shape):
    """Uniform values in [-1, 1) by name and index: FNV-1a of the name, then the finalizer of MurmurHash3."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x01000193) & 0xFFFFFFFF
    h = (np.arange(int(np.prod(shape)), dtype=np.uint64) * 0x9E3779B1 + seed) & 0xFFFFFFFF
    h ^= h >> 16
    h = (h * 0x85EBCA6B) & 0xFFFFFFFF
    h ^= h >> 13
    h = (h * 0xC2B2AE35) & 0xFFFFFFFF
    h ^= h >> 16
    return (h >> 8).astype(np.float64) / 2**23 - 1


def weights(name, shape, gain, around_three=False):
    """The value of a tensor with a published name; `around_three` for the batch normalisation of a network with kinks."""
    u = hashed(name, shape)
    if name.endswith("running_var"):
        u = 1 + 0.5 * u
    elif name.endswith("running_mean"):
        u = 0.1 * u
    elif name.endswith(("_token", "pos_embed")):
        u = 0.5 * u
    elif len(shape) >= 2:
        u = u * np.sqrt(3 * gain / np.prod(shape[1:]))
    elif name.endswith("weight"):
        u = (0.2 if around_three else 1) * (1 + 0.3 * u)
    else:
        u = 3 * np.sign(u) if around_three else 0.1 * u
    return u.reshape(shape).astype(np.float32)


def fill(module, gain, prefix=""):
    norms = {name for name, m in module.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    state = module.state_dict()
    for name, tensor in state.items():
        if tensor.dtype.is_floating_point:
            state[name] = torch.from_numpy(weights(prefix + name, tuple(tensor.shape), gain, name.rpartition(".")[0] in norms))
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)


class Vgg(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network
        # Rectified in place, a map would be lost to the gradient of what made it.
        for module in self.network.modules():
            if isinstance(module, torch.nn.ReLU):
                module.inplace = False

    def forward(self, x):
        maps = []
        for start, end in ((0, 13), (13, 23), (23, 33), (33, 43)):
            x = self.network.features[start:end](x)
            maps.append(x)
        return maps


class Lite(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        n = self.network
        x = n.bn1(n.conv_stem(x))
        maps = []
        for start, end in ((0, 2), (2, 3), (3, 5), (5, 7)):
            x = n.blocks[start:end](x)
            maps.append(x)
        return maps


class Deit(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network
        width = self.network.embed_dim
        self.readout = torch.nn.ModuleList()
        for channels, resample in zip(
            READOUT,
            (
                lambda c: torch.nn.ConvTranspose2d(c, c, 4, stride=4),
                lambda c: torch.nn.ConvTranspose2d(c, c, 2, stride=2),
                None,
                lambda c: torch.nn.Conv2d(c, c, 3, stride=2, padding=1),
            ),
        ):
            layers = {"project": torch.nn.Conv2d(width, channels, 1)}
            if resample:
                layers["resample"] = resample(channels)
            self.readout.append(torch.nn.ModuleDict(layers))
        fill(self.readout, 1, "readout.")

    def forward(self, x):
        n = self.network
        x = n.patch_embed(x)
        special = torch.cat((n.cls_token, n.dist_token), 1).expand(x.shape[0], -1, -1)
        x = torch.cat((special, x), 1) + n.pos_embed
        maps = []
        for i, block in enumerate(n.blocks):
            x = block(x)
            if i in (2, 5, 8, 11):
                y = x[:, 2:].transpose(1, 2).reshape(x.shape[0], -1, 14, 14)
                for layer in self.readout[len(maps)].values():
                    y = layer(y)
                maps.append(y)
        return maps


def measure(network, x):
    """Sets the statistics of every batch normalisation to those of its input, rounded to half precision."""
    stored = {}

    def before(name):
        def hook(norm, arguments):
            (values,) = arguments
            for part, value in (("running_mean", values.mean((0, 2, 3))), ("running_var", values.var((0, 2, 3)).clamp(min=0.01))):
                half = value.half()
                getattr(norm, part).copy_(half)
                stored[name + "." + part] = half

        return hook

    handles = [
        module.register_forward_pre_hook(before(name))
        for name, module in network.network.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    ]
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    return stored


def library(name):
    """The network with the library's own first values."""
    return torchvision.models.vgg16_bn() if name == "vgg16_bn" else timm.create_model(name)


def stages(name, network):
    """A module that gives the four maps of the library's `network`, and the mean and deviation that it expects."""
    kind, normalisation = (Vgg, IMAGENET) if name == "vgg16_bn" else (Lite, ([0.5] * 3, [0.5] * 3)) if name in LITE else (Deit, IMAGENET)
    return kind(network), normalisation


def create(name, seed=""):
    """With hashed weights; another `seed`, which stands before their names, makes others."""
    gain = 2 if name == "vgg16_bn" else 1.4 if name in LITE else 1
    return stages(name, fill(library(name), gain, seed))


def make(name, full, dtype):
    network, (mean, std) = create(name)
    images = torch.from_numpy(hashed("images", (2, 3, 32, 32)).reshape(2, 3, 32, 32)).float()
    centre, width = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (mean, std))
    stored = measure(network, ((F.interpolate(images, 224, mode="bilinear", align_corners=False) + 1) / 2 - centre) / width)
    network.to(dtype)
    mean, std = (torch.tensor(v, dtype=dtype).reshape(1, 3, 1, 1) for v in (mean, std))
    images = images.to(dtype).requires_grad_()

    resized = F.interpolate(images, 224, mode="bilinear", align_corners=False)
    maps = network(((resized + 1) / 2 - mean) / std)
    heads = [
        torch.from_numpy(hashed("head.%d" % k, (m.shape[1],)) * np.sqrt(3 / m.shape[1])).to(dtype).requires_grad_()
        for k, m in enumerate(maps)
    ]
    logits = sum(F.softplus((m * h.reshape(1, -1, 1, 1)).sum(1)).mean((1, 2)) for m, h in zip(maps, heads))
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    penalty = gradient.square().sum((1, 2, 3)).mean()
    second = torch.autograd.grad(penalty, [images, *heads])

    result = {"gradient": gradient, "penalty": penalty.reshape(1), "penalty.images": second[0]}
    for k, m in enumerate(maps):
        flat = m.detach().reshape(-1)
        places = torch.arange(SAMPLES) * (flat.numel() // SAMPLES)
        result["stage.%d" % k] = m if full else flat[places]
        result["stage.%d.norm" % k] = flat.double().norm().reshape(1)
        result["penalty.head.%d" % k] = second[1 + k]
        print("  stage %d %s root mean square %.3f" % (k, list(m.shape), flat.double().square().mean().sqrt()))
    print("  penalty %.4g" % float(penalty.detach()))
    result = {key: value.detach().float() for key, value in result.items()}
    return {key: np.ascontiguousarray(value.numpy()) for key, value in {**result, **stored}.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--networks", nargs="+", default=["vgg16_bn", *LITE, *DEIT])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--float64", action="store_true")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    for name in options.networks:
        print(name)
        save_file(make(name, options.full, torch.float64 if options.float64 else torch.float32), os.path.join(options.out, name + ".safetensors"))

"""Golden vectors of the projected discriminator: feature networks, random projections and heads as one, twice differentiated.

    python test/tools/make_projected_goldens.py OUT [--float64]

Feature networks as in make_feature_goldens.py, whose files in test/golden/features hold the statistics of batch
normalisation; all other values are hashes of names, as there. Heads stand in training mode, their BatchNorm far from the
kinks of LeakyReLU. OUT/NAME.safetensors holds for two images (NCHW):

    logits.N         of network N, in the first forward
    generator        sum over networks of mean softplus(-logits), over their number; its gradient for the images:
    generator.images
    penalty          of a second forward: mean_b |gradient of the sum of all logits for image b|^2 / 2, and its gradients for
    penalty.images   the images, and for each parameter PARAMETER of the heads: SAMPLES values of it, and its norm
    r1.PARAMETER, r1.PARAMETER.norm
"""
import argparse
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file
from torch import nn

sys.path.insert(0, os.path.dirname(__file__))
from make_feature_goldens import create, hashed, weights  # noqa: E402
from make_golden import Head  # noqa: E402

SAMPLES = 16
WIDTHS = [64, 128, 256, 512]
OUTPUTS = [64, 64, 128, 256]
SIZES = [128, 64, 32, 16]
HEAD_WIDTHS = {64: 64, 32: 128, 16: 256, 8: 512}
STATISTICS = os.path.join(os.path.dirname(__file__), "..", "golden", "features")

CASES = {
    "cifar10": dict(networks=["vgg16_bn", "tf_efficientnet_lite0"], size=32, classes=0),
    "conditional": dict(networks=["deit_tiny_distilled_patch16_224", "tf_efficientnet_lite0"], size=64, classes=5),
}


class Projection(nn.Module):
    """Cross-channel mixing a stage; from the coarsest up: add, interpolate x2 with aligned corners, mix to the finer width."""

    def __init__(self, channels):
        super().__init__()
        for i, (inputs, width, outputs) in enumerate(zip(channels, WIDTHS, OUTPUTS)):
            self.add_module("layer%d_ccm" % i, nn.Conv2d(inputs, width, 1))
            self.add_module("layer%d_csm" % i, nn.ModuleDict({"out_conv": nn.Conv2d(width, outputs, 1)}))

    def forward(self, maps):
        mixed, coarser = [], 0
        for i in reversed(range(len(maps))):
            y = getattr(self, "layer%d_ccm" % i)(maps[i]) + coarser
            y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
            coarser = getattr(self, "layer%d_csm" % i)["out_conv"](y)
            mixed.insert(0, coarser)
        return mixed


class ProjectedHead(Head):
    """From `size` to 8 by halvings, then 4x4; with classes 64 outputs, times the projected embedding of the class."""

    def __init__(self, channels, size, classes):
        super().__init__(channels, [HEAD_WIDTHS[below] for below in (64, 32, 16, 8) if below < size], 64 if classes else 1)
        self.classes = classes
        if classes:
            self.embed = nn.Embedding(classes, 1280)
            self.embed_proj = nn.Linear(1280, 64)

    def forward(self, x, labels):
        y = self.main(x)
        if self.classes:
            embedded = self.embed(labels) @ (self.embed_proj.weight / np.sqrt(1280)).T + self.embed_proj.bias
            scale = F.leaky_relu(embedded, 0.2) * np.sqrt(2)
            y = (y * scale[:, :, None, None]).sum(1, keepdim=True) / 8
        return y.flatten(1)


def fill(module, prefix):
    norms = {name for name, m in module.named_modules() if isinstance(m, nn.BatchNorm2d)}
    state = module.state_dict()
    for name, tensor in state.items():
        if tensor.dtype.is_floating_point:
            state[name] = torch.from_numpy(weights(prefix + name, tuple(tensor.shape), 1, name.rpartition(".")[0] in norms))
    module.load_state_dict(state)
    return module


class Discriminator(nn.Module):
    def __init__(self, names, size, classes):
        super().__init__()
        self.inputs, self.features, self.projections, self.heads = [], [], [], []
        for n, name in enumerate(names):
            network, (mean, std) = create(name)
            statistics = os.path.join(STATISTICS, name + ".safetensors")
            if os.path.exists(statistics):
                state = network.network.state_dict()
                stored = load_file(statistics)
                state.update({k: torch.from_numpy(stored[k].astype(np.float32)) for k in state if k in stored})
                network.network.load_state_dict(state)
            with torch.no_grad():
                channels = [m.shape[1] for m in network(torch.zeros(1, 3, 224, 224))]
            projection = fill(Projection(channels), "networks.%d.projection." % n).requires_grad_(False)
            heads = [fill(ProjectedHead(c, s, classes), "networks.%d.groups.0.heads.%d." % (n, k)).train() for k, (c, s) in enumerate(zip(OUTPUTS, SIZES))]
            self.inputs.append((mean, std))
            self.features.append(network)
            self.projections.append(projection)
            self.heads.append(heads)

    def modules_of(self):
        return [*self.features, *self.projections, *(head for heads in self.heads for head in heads)]

    def named_head_parameters(self):
        for n, heads in enumerate(self.heads):
            for k, head in enumerate(heads):
                for name, parameter in head.named_parameters():
                    yield "networks.%d.groups.0.heads.%d.%s" % (n, k, name), parameter

    def forward(self, images, labels):
        resized = F.interpolate(images, 224, mode="bilinear", align_corners=False)
        logits = []
        for (mean, std), network, projection, heads in zip(self.inputs, self.features, self.projections, self.heads):
            centre, width = (torch.tensor(v, dtype=images.dtype).reshape(1, 3, 1, 1) for v in (mean, std))
            maps = projection(network(((resized + 1) / 2 - centre) / width))
            logits.append(torch.cat([head(m, labels) for head, m in zip(heads, maps)], 1))
        return logits


def make(networks, size, classes, dtype):
    discriminator = Discriminator(networks, size, classes)
    for module in discriminator.modules_of():
        module.to(dtype)
    images = torch.from_numpy(hashed("images", (2, 3, size, size)).reshape(2, 3, size, size)).to(dtype).requires_grad_()
    labels = torch.tensor([0, max(classes - 1, 0)])

    logits = discriminator(images, labels)
    loss = sum(F.softplus(-values).mean() for values in logits) / len(logits)
    (slope,) = torch.autograd.grad(loss, images)
    result = {"logits.%d" % n: values for n, values in enumerate(logits)}
    result.update({"generator": loss.reshape(1), "generator.images": slope})

    total = sum(values.sum() for values in discriminator(images, labels))
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    penalty = gradient.square().sum((1, 2, 3)).mean() / 2
    names, parameters = zip(*discriminator.named_head_parameters())
    second, *of_parameters = torch.autograd.grad(penalty, [images, *parameters], allow_unused=True)
    result.update({"penalty": penalty.reshape(1), "penalty.images": second})
    for name, parameter, values in zip(names, parameters, of_parameters):
        flat = (torch.zeros_like(parameter) if values is None else values).reshape(-1)
        step = max(1, flat.numel() // SAMPLES)
        result["r1." + name] = flat[::step][:SAMPLES]
        result["r1.%s.norm" % name] = flat.double().norm().reshape(1)
    print("  logits %s, loss %.4f, penalty %.4g" % ([list(v.shape) for v in logits], float(loss.detach()), float(penalty.detach())))
    return {key: np.ascontiguousarray(value.detach().float().numpy()) for key, value in result.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--float64", action="store_true")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    for name, case in CASES.items():
        print(name)
        values = make(**case, dtype=torch.float64 if options.float64 else torch.float32)
        save_file(values, os.path.join(options.out, name + ".safetensors"))

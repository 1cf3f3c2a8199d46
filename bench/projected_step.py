"""The PyTorch side of projected-step.ts: the CIFAR-10 recipe with torchvision's and timm's networks, in float32, eagerly.

Projection, heads and steps are written here; the generator is test/tools/edm_networks.py. Reads the name of a step a line,
runs it and prints its milliseconds.
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "test", "tools"))
import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--networks", default="vgg16_bn,tf_efficientnet_lite0")
options = parser.parse_args()
torch.set_num_threads(options.threads)
torch.manual_seed(0)
from edm_networks import EDMPrecond, PUBLISHED, randomize  # noqa: E402
from make_feature_goldens import create  # noqa: E402

WIDTHS = {64: 64, 32: 128, 16: 256, 8: 512}


class Features(nn.Module):
    """The stages of a frozen network at 224 px, mixed at random."""

    def __init__(self, name):
        super().__init__()
        self.network, (mean, std) = create(name)
        self.mean, self.std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (mean, std))
        with torch.no_grad():
            channels = [m.shape[1] for m in self.stages(torch.zeros(1, 3, 32, 32))]
        widths = [64, 128, 256, 512]
        self.outputs = [64, 64, 128, 256]
        self.channel = nn.ModuleList([nn.Conv2d(c, w, 1) for c, w in zip(channels, widths)])
        self.scale = nn.ModuleList([nn.Conv2d(w, o, 1) for w, o in zip(widths, self.outputs)])

    def stages(self, x):
        x = F.interpolate(x, 224, mode="bilinear", align_corners=False)
        return self.network(((x + 1) / 2 - self.mean) / self.std)

    def forward(self, x):
        mixed, coarser = [], None
        for stage, mix, scale in reversed(list(zip(self.stages(x), self.channel, self.scale))):
            own = mix(stage)
            y = own if coarser is None else own + coarser
            # As ours: convolving before interpolating costs a quarter and is the same.
            coarser = F.interpolate(scale(y), scale_factor=2, mode="bilinear", align_corners=True)
            mixed.insert(0, coarser)
        return mixed


class Head(nn.Sequential):
    def __init__(self, channels, size):
        layers = []
        while size > 8:
            size //= 2
            conv = nn.utils.spectral_norm(nn.Conv2d(channels, WIDTHS[size], 4, 2, 1))
            layers += [conv, nn.BatchNorm2d(WIDTHS[size]), nn.LeakyReLU(0.2)]
            channels = WIDTHS[size]
        super().__init__(*layers, nn.utils.spectral_norm(nn.Conv2d(channels, 1, 4, bias=False)))


names = options.networks.split(",")
features = [Features(name).requires_grad_(False) for name in names]
heads = nn.ModuleList([nn.ModuleList([Head(c, 128 >> i) for i, c in enumerate(f.outputs)]) for f in features])
generator = randomize(EDMPrecond(**{**PUBLISHED["cifar10-ncsnpp-uncond"], "augment_dim": 0}))
for name, parameter in generator.named_parameters():
    if any(part in name for part in (".conv0.", ".conv1.", ".proj.")):
        parameter.requires_grad_(False)
real = torch.rand(options.batch, 3, 32, 32) * 2 - 1
adam_g = torch.optim.Adam([p for p in generator.parameters() if p.requires_grad], lr=1e-4, betas=(0.0, 0.99))
adam_d = torch.optim.Adam(heads.parameters(), lr=1e-4, betas=(0.0, 0.99))


def judge(maps, heads):
    return torch.cat([head(m).flatten(1) for head, m in zip(heads, maps)], 1)


def latents():
    return torch.randn(options.batch, 3, 32, 32)


def update(adam, loss):
    loss.backward()
    for group in adam.param_groups:
        for p in group["params"]:
            torch.nan_to_num(p.grad, nan=0, posinf=1e5, neginf=-1e5, out=p.grad)
    adam.step()
    return loss.item()


def generator_step():
    adam_g.zero_grad(set_to_none=True)
    heads.requires_grad_(False)
    fake = generator.one_step(latents())
    return update(adam_g, sum(F.softplus(-judge(f(fake), h)).mean() for f, h in zip(features, heads)) / len(features))


def discriminator_step():
    adam_d.zero_grad(set_to_none=True)
    heads.requires_grad_(True)
    with torch.no_grad():
        both = torch.cat([generator.one_step(latents()), real])
        maps = [f(both) for f in features]
    loss = 0
    for m, h in zip(maps, heads):
        fake_logits = judge([x[: options.batch] for x in m], h)
        real_logits = judge([x[options.batch :] for x in m], h)
        loss = loss + (F.softplus(fake_logits) + F.softplus(-real_logits)).mean() / len(features)
    return update(adam_d, loss)


def r1_step():
    adam_d.zero_grad(set_to_none=True)
    heads.requires_grad_(True)
    x = real.clone().requires_grad_()
    (slope,) = torch.autograd.grad(sum(judge(f(x), h).sum() for f, h in zip(features, heads)), x, create_graph=True)
    return update(adam_d, slope.square().sum([1, 2, 3]).mean() * (1e-4 / 2 * 16))


steps = {"generator": generator_step, "discriminator": discriminator_step, "r1": r1_step}
trained = [sum(p.numel() for p in module.parameters() if p.requires_grad) for module in (generator, heads)]
print(*trained, flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    steps[line.strip()]()
    print((time.perf_counter() - start) * 1000, flush=True)

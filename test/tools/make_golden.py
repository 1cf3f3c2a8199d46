"""A directory in the format of test/golden with random networks, heads, projections, samples, Fréchet sets, snapshots and state dicts.

python test/tools/make_golden.py DIRECTORY [--seed 0] [--networks 3]

Every setting (architecture, sizes, batch, widths, steps) is drawn from the seed. `npm run parity -- DIRECTORY` must agree.
"""
import argparse
import json
import random
import re
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from edm_networks import SIGMA_MAX, SIGMA_MIN, EDMPrecond, randomize
from make_edm_snapshot import write_io, write_snapshot
from make_random_networks import random_config

FROZEN = [(), ("conv0", "conv1", "proj"), ("conv0", "conv1", "proj", "qkv"), ("conv0", "conv1", "proj", "qkv", "skip")]


def freeze_lists(network):
    """By names: the parts of blocks that each level freezes."""
    levels = {}
    for level, parts in enumerate(FROZEN):
        pattern = re.compile(rf"\.(enc|dec)\.\d+x\d+_(down|up|in\d|block\d+)\.({'|'.join(parts)})\.(weight|bias)$")
        frozen = {name: p.numel() for name, p in network.named_parameters() if parts and pattern.search(name)}
        levels[level] = dict(frozen=list(frozen), frozen_parameters=sum(frozen.values()))
    return levels


def write_network(draw, path, seed):
    config = random_config(draw, draw.choice(["SongUNet", "SongUNet", "DhariwalUNet"]))
    network = randomize(EDMPrecond(**config), seed)
    half = draw.random() < 0.7
    dtype = torch.float16 if half else torch.float32
    # Rounded first, so that the float16 file is exact. Filters stay as they are: the network computes with their taps.
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if not name.endswith("resample_filter"):
            value.data = value.data.to(dtype).float()
    stored = lambda name, value: value if name.endswith("resample_filter") else value.to(dtype)  # noqa: E731
    save_file({n: stored(n, v.detach()).contiguous() for n, v in network.state_dict().items()}, f"{path}.weights.safetensors")
    write_io(network, path, seed, batch=draw.choice([1, 2, 3, 5]))
    description = json.loads(Path(f"{path}.json").read_text())
    Path(f"{path}.json").write_text(json.dumps(dict(description, freeze=freeze_lists(network))))
    return network


def write_samples(network, path, steps, seed):
    """EDM's Heun sampler: the state in float64, the network in float32."""
    config = network._init_kwargs
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(2, config["img_channels"], config["img_resolution"], config["img_resolution"], generator=generator)
    ramp = torch.arange(steps, dtype=torch.float64) / max(steps - 1, 1)
    sigmas = (SIGMA_MAX ** (1 / 7) + ramp * (SIGMA_MIN ** (1 / 7) - SIGMA_MAX ** (1 / 7))) ** 7
    sigmas = torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])
    slope = lambda x, sigma: (x - network(x.float(), sigma[None]).double()) / sigma  # noqa: E731
    with torch.no_grad():
        x = latent.double() * sigmas[0]
        for now, then in zip(sigmas[:-1], sigmas[1:]):
            first = slope(x, now)
            euler = x + (then - now) * first
            x = x + (then - now) * (first + slope(euler, then)) / 2 if then > 0 else euler
    save_file(dict(latent=latent, sigmas=sigmas.float(), sample=x.float()), f"{path}/sampler-heun-{steps}.safetensors")


# ----------------------------------------------------------------------------------------------------------------------
# Discriminator


class Halving(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        conv = nn.utils.spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1))
        self.main = nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2))

    def forward(self, x):
        return self.main(x)


class Head(nn.Module):
    def __init__(self, channels, widths, outputs):
        super().__init__()
        layers = [Halving(a, b) for a, b in zip([channels, *widths], widths)]
        last = nn.utils.spectral_norm(nn.Conv2d([channels, *widths][-1], outputs, 4, bias=False))
        self.main = nn.Sequential(*layers, last)

    def forward(self, x):
        return self.main(x)


def write_head(draw, path, seed):
    torch.manual_seed(seed)
    widths = [draw.choice([4, 6, 16, 24]) for _ in range(draw.choice([0, 1, 2, 3]))]
    channels = draw.choice([1, 3, 8, 20])
    head = Head(channels, widths, draw.choice([1, 1, 5])).train()
    size = draw.choice([4, 5, 8]) * 2 ** len(widths)
    features = torch.randn(draw.choice([2, 3, 6]), channels, size, size, requires_grad=True)
    with torch.no_grad():
        for module in head.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.normal_(1, 0.2)
                module.bias.normal_(0, 0.2)
    save_file({n: v.detach().clone().contiguous() for n, v in head.state_dict().items()}, f"{path}.weights.safetensors")
    arrays = dict(features=features.detach(), logits_first=head(features).detach(), logits_second=head(features).detach())
    logits = head(features)
    (gradient,) = torch.autograd.grad(logits.sum(), features, create_graph=True)
    penalty = gradient.square().sum([1, 2, 3])
    penalty.mean().backward()
    arrays.update(logits_r1=logits.detach(), r1_input_grad=gradient.detach(), r1_penalty=penalty.detach())
    for name, parameter in head.named_parameters():
        arrays[f"r1_param_grad.{name}"] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    save_file({name: value.contiguous() for name, value in arrays.items()}, f"{path}.io.safetensors")
    Path(f"{path}.json").write_text(json.dumps(dict(widths=widths)))


def write_projection(draw, path, seed):
    torch.manual_seed(seed)
    stages = draw.choice([1, 2, 3, 4, 5])
    channels = [draw.choice([3, 8, 24, 40]) for _ in range(stages)]
    base, expand = draw.choice([4, 8, 64]), draw.choice([1, 2])
    widths = [base * expand**stage for stage in range(stages)]
    outputs = [widths[0], *widths[:-1]]
    height, width = draw.choice([1, 2, 3, 7]), draw.choice([1, 2, 7])
    batch = draw.choice([1, 2, 4])
    weights, arrays, coarser = {}, {}, None
    for stage in reversed(range(stages)):
        mixing = nn.Conv2d(channels[stage], widths[stage], 1)
        scaling = nn.Conv2d(widths[stage], outputs[stage], 1)
        for name, layer in [(f"layer{stage}_ccm", mixing), (f"layer{stage}_csm.out_conv", scaling)]:
            weights.update({f"{name}.{key}": value for key, value in layer.state_dict().items()})
        factor = 2 ** (stages - 1 - stage)
        feature = torch.randn(batch, channels[stage], height * factor, width * factor)
        with torch.no_grad():
            own = mixing(feature) if coarser is None else mixing(feature) + coarser
            coarser = scaling(F.interpolate(own, scale_factor=2, mode="bilinear", align_corners=True))
        arrays.update({f"feature{stage}": feature, f"mixed{stage}": coarser})
    save_file(weights, f"{path}.weights.safetensors")
    save_file({name: value.contiguous() for name, value in arrays.items()}, f"{path}.io.safetensors")


# ----------------------------------------------------------------------------------------------------------------------
# Fréchet distances


def root(covariance):
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def frechet(a, b):
    """tr (A B)^1/2 is the sum of the singular values of A^1/2 B^1/2."""
    [(mean_a, cov_a), (mean_b, cov_b)] = [(x.mean(0), np.atleast_2d(np.cov(x, rowvar=False))) for x in (a, b)]
    cross = np.linalg.svd(root(cov_a) @ root(cov_b), compute_uv=False).sum()
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def write_frechet(draw, directory, seed):
    numbers = np.random.default_rng(seed)
    distances = {}
    for name in ["wide", "narrow-rank", "same", "single"]:
        size = 1 if name == "single" else draw.choice([5, 17, 64])
        rows = max(2, size // 2) if name == "narrow-rank" else draw.choice([100, 333])
        mixing = numbers.normal(size=(size, size))
        a = numbers.normal(size=(rows, size)) @ mixing
        b = a if name == "same" else numbers.normal(size=(rows + 5, size)) @ mixing.T * 0.7 + 0.3
        dtype = draw.choice([np.float32, np.float64])
        a, b = a.astype(dtype), b.astype(dtype)
        (np.savez_compressed if draw.random() < 0.5 else np.savez)(directory / f"frechet-{name}.npz", features_a=a, features_b=b)
        distances[name] = frechet(a.astype(np.float64), b.astype(np.float64))
    (directory / "frechet.json").write_text(json.dumps(distances))


# ----------------------------------------------------------------------------------------------------------------------


def write_state_dicts(draw, network, path):
    """In both containers; nested, with a prefix, in float64 and bfloat16, transposed in memory."""
    state = {name: value.detach() for name, value in network.state_dict().items()}
    strange = {name: value.t().contiguous().t() if value.dim() == 2 else value for name, value in state.items()}
    torch.save(strange, f"{path}-strided.pth")
    torch.save({f"module.{n}": v.double() for n, v in state.items()}, f"{path}-double.pt", _use_new_zipfile_serialization=False)
    torch.save(dict(step=3, ema={n: v.bfloat16() for n, v in state.items()}), f"{path}-nested.pth")
    write_snapshot(network, Path(f"{path}-snapshot.pkl"), draw.choice([2, 3, 4, 5]), draw.choice(["published", "current"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=int, default=3)
    options = parser.parse_args()
    directory, seed = options.directory, options.seed
    directory.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    draw = random.Random(seed)
    networks = {}
    for index in range(options.networks):
        name = "ncsnpp" if index == 0 and draw.random() < 0.5 else f"network-{index}"
        networks[name] = write_network(draw, directory / name, seed * 100 + index)
    name, network = draw.choice(list(networks.items()))
    write_state_dicts(draw, network, directory / f"of-{name}")
    write_samples(networks[next(iter(networks))], directory, draw.choice([1, 2, 5, 9]), seed)
    for index in range(2):
        write_head(draw, directory / f"disc-head{'' if index == 0 else '-second'}", seed * 100 + index)
        write_projection(draw, directory / f"projection{'' if index == 0 else '-second'}", seed * 100 + index)
    write_frechet(draw, directory, seed)


if __name__ == "__main__":
    main()

"""The PyTorch side of bench/train-step.ts: the quickstart's network, the same shapes, the same two iterations.

    python3 bench/train_step.py [--threads 2] [--batch 64] [--warmup 3] [--repeats 9]

Prints one JSON line: median milliseconds of the EDM training step, the GDD-I iteration, one-step sampling and one
network evaluation, and the peak RSS. Eager mode, float32. Written to be read: our measuring stick, not a port.
"""
import argparse
import json
import math
import resource
import time

import torch
import torch.nn.functional as F
from torch import nn

SD = 0.5
SQRT_HALF = math.sqrt(0.5)
FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def resample(x, up=False, pad=1):
    c = x.shape[1]
    f = (FILTER * 4 if up else FILTER).to(x).tile([c, 1, 1, 1])
    if up:
        return F.conv_transpose2d(x, f, stride=2, padding=pad, groups=c)
    return F.conv2d(x, f, stride=2, padding=pad, groups=c)


def norm(channels):
    return nn.GroupNorm(min(32, channels // 4), channels, eps=1e-6)


class Block(nn.Module):
    def __init__(self, cin, cout, emb, mode=None, attention=False):
        super().__init__()
        self.mode = mode
        self.norm0, self.conv0 = norm(cin), nn.Conv2d(cin, cout, 3, padding=1)
        self.affine = nn.Linear(emb, cout)
        self.norm1, self.conv1 = norm(cout), nn.Conv2d(cout, cout, 3, padding=1)
        self.skip = nn.Conv2d(cin, cout, 1) if mode or cin != cout else None
        self.norm2 = norm(cout) if attention else None
        self.qkv = nn.Conv2d(cout, 3 * cout, 1) if attention else None
        self.proj = nn.Conv2d(cout, cout, 1) if attention else None

    def forward(self, x, emb):
        y = F.silu(self.norm0(x))
        if self.mode:
            y, x = resample(y, self.mode == "up"), resample(x, self.mode == "up")
        y = self.conv0(y) + self.affine(emb)[:, :, None, None]
        y = self.conv1(F.silu(self.norm1(y)))
        x = (y + (self.skip(x) if self.skip else x)) * SQRT_HALF
        if self.norm2 is not None:
            b, c, h, w = x.shape
            q, k, v = self.qkv(self.norm2(x)).reshape(b, c, 3, h * w).unbind(2)
            weights = torch.einsum("bcq,bck->bqk", q, k / math.sqrt(c)).softmax(2)
            a = torch.einsum("bqk,bck->bcq", weights, v).reshape(b, c, h, w)
            x = (x + self.proj(a)) * SQRT_HALF
        return x


class Ncsnpp(nn.Module):
    """NCSN++ at 16 px: 32 channels, multipliers 1 and 2, two blocks a level, attention at 8 px."""

    def __init__(self, width=32, mult=(1, 2), blocks=2, attention=(8,), size=16):
        super().__init__()
        emb = 4 * width
        self.register_buffer("freqs", torch.randn(width) * 16)
        self.map0, self.map1 = nn.Linear(2 * width, emb), nn.Linear(emb, emb)
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.enc, self.aux = nn.ModuleList(), nn.ModuleList()
        c, skips = width, [width]
        for level, m in enumerate(mult):
            at = size >> level
            if level:
                self.enc.append(Block(c, c, emb, "down"))
                self.aux.append(nn.Conv2d(3, c, 3, padding=2))
                skips.append(c)
            for _ in range(blocks):
                self.enc.append(Block(c, width * m, emb, attention=at in attention))
                c = width * m
                skips.append(c)
        self.dec = nn.ModuleList()
        for level, m in reversed(list(enumerate(mult))):
            if level == len(mult) - 1:
                self.dec += [Block(c, c, emb, attention=True), Block(c, c, emb)]
            else:
                self.dec.append(Block(c, c, emb, "up"))
            for i in range(blocks + 1):
                self.dec.append(Block(c + skips.pop(), width * m, emb, attention=i == blocks and (size >> level) in attention))
                c = width * m
        self.out_norm, self.out_conv = norm(c), nn.Conv2d(c, 3, 3, padding=1)

    def embed(self, noise):
        phase = noise[:, None] * (2 * math.pi * self.freqs)
        return F.silu(self.map1(F.silu(self.map0(torch.cat([phase.sin(), phase.cos()], 1)))))

    def encode(self, x, emb):
        image, skips, aux = x, [], iter(self.aux)
        x = self.first(x)
        skips.append(x)
        for block in self.enc:
            x = block(x, emb)
            if block.mode:
                x = (x + resample(next(aux)(image), pad=0)) * SQRT_HALF
            skips.append(x)
        return skips

    def forward(self, x, noise):
        emb = self.embed(noise)
        skips = self.encode(x, emb)
        x = skips[-1]
        for block in self.dec:
            if x.shape[1] != block.norm0.num_channels:
                x = torch.cat([x, skips.pop()], 1)
            x = block(x, emb)
        return self.out_conv(F.silu(self.out_norm(x)))


def denoise(net, x, sigma, eps=0.0):
    s = sigma.reshape(-1, 1, 1, 1)
    norm_ = (s**2 + SD**2).sqrt()
    raw = net(x / norm_, sigma.log() / 4)
    return x * SD**2 / ((s - eps) ** 2 + SD**2) + raw * (s - eps) * SD / norm_


def generate(net, z):
    return denoise(net, 80 * z, torch.full([z.shape[0]], 80.0), eps=0.002)


class Head(nn.Module):
    def __init__(self, channels, size, end=4):
        super().__init__()
        layers = []
        while size > end:
            conv = nn.utils.spectral_norm(nn.Conv2d(channels, channels, 4, 2, 1))
            layers += [conv, nn.BatchNorm2d(channels), nn.LeakyReLU(0.2)]
            size //= 2
        self.main = nn.Sequential(*layers, nn.utils.spectral_norm(nn.Conv2d(channels, 1, 4, bias=False)))

    def forward(self, x):
        return self.main(x).flatten(1)


class EncoderDiscriminator(nn.Module):
    """Heads on the last block of each resolution of the frozen teacher; each noise level judges its part of the batch."""

    def __init__(self, teacher, sigmas, stages=((2, 32, 16), (5, 64, 8))):
        super().__init__()
        self.teacher, self.sigmas, self.stages = [teacher], sigmas, stages
        self.heads = nn.ModuleList([Head(c, size) for _ in sigmas for _, c, size in stages])

    def forward(self, x):
        teacher, heads, logits = self.teacher[0], iter(self.heads), []
        bounds = [round(i * x.shape[0] / len(self.sigmas)) for i in range(len(self.sigmas) + 1)]
        sigma = torch.cat([torch.full([b - a], s) for s, a, b in zip(self.sigmas, bounds, bounds[1:])])
        s = sigma.reshape(-1, 1, 1, 1)
        skips = teacher.encode((x + s * torch.randn_like(x)) / (s**2 + SD**2).sqrt(), teacher.embed(sigma.log() / 4))
        for a, b in zip(bounds, bounds[1:]):
            logits.append(torch.cat([next(heads)(skips[i][a:b]) for i, _, _ in self.stages], 1))
        return [torch.cat(logits)]


def update_ema(ema, net, decay):
    with torch.no_grad():
        for a, b in zip(ema.parameters(), net.parameters()):
            if b.requires_grad:
                a.lerp_(b, 1 - decay)


def sanitize(parameters):
    for p in parameters:
        if p.grad is not None:
            torch.nan_to_num(p.grad, nan=0, posinf=1e5, neginf=-1e5, out=p.grad)


def median_ms(f, warmup, repeats):
    for i in range(warmup):
        f(i)
    times = []
    for i in range(repeats):
        start = time.perf_counter()
        f(i)
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)[len(times) // 2]


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--batch", type=int, default=64)
    args.add_argument("--warmup", type=int, default=3)
    args.add_argument("--repeats", type=int, default=9)
    args.add_argument("--sigmas", type=float, nargs="+", default=[0.1, 0.5, 2.0])
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    net, ema, teacher = Ncsnpp(), Ncsnpp(), Ncsnpp()
    assert sum(p.numel() for p in net.parameters()) == 1038499
    teacher.requires_grad_(False)
    real = torch.rand(args.batch, 3, 16, 16) * 2 - 1

    adam = torch.optim.Adam(net.parameters(), lr=1e-4)

    def edm_step(_):
        adam.zero_grad(set_to_none=True)
        sigma = (torch.randn(args.batch) * 1.2 - 1.2).exp()
        noisy = real + torch.randn_like(real) * sigma.reshape(-1, 1, 1, 1)
        weight = (sigma**2 + SD**2) / (sigma * SD) ** 2
        loss = (weight * (denoise(net, noisy, sigma) - real).square().mean([1, 2, 3])).mean()
        loss.backward()
        sanitize(net.parameters())
        adam.step()
        update_ema(ema, net, 0.999)
        return loss.item()

    edm = median_ms(edm_step, args.warmup, args.repeats)

    # GDD-I: every block's 3x3 convolutions and the attention's projection are frozen.
    for block in list(net.enc) + list(net.dec):
        for part in (block.conv0, block.conv1, block.proj):
            if part is not None:
                part.requires_grad_(False)
    disc = EncoderDiscriminator(teacher, args.sigmas)
    adam_g = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-4, betas=(0.0, 0.99))
    adam_d = torch.optim.Adam(disc.parameters(), lr=1e-4, betas=(0.0, 0.99))

    def reduce(losses):
        return sum(value.mean() for value in losses) / len(losses)

    def gdd_step(i):
        adam_g.zero_grad(set_to_none=True)
        disc.requires_grad_(False)
        loss_g = reduce([F.softplus(-logits) for logits in disc(generate(net, torch.randn_like(real)))])
        loss_g.backward()
        sanitize(net.parameters())
        adam_g.step()
        disc.requires_grad_(True)
        adam_d.zero_grad(set_to_none=True)
        with torch.no_grad():
            fake = generate(net, torch.randn_like(real))
        loss_d = reduce([F.softplus(f) + F.softplus(-r) for f, r in zip(disc(fake), disc(real))])
        loss_d.backward()
        sanitize(disc.parameters())
        adam_d.step()
        update_ema(ema, net, 0.999)
        return loss_g.item(), loss_d.item()

    def r1_step(_):
        adam_d.zero_grad(set_to_none=True)
        x = real.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(sum(logits.sum() for logits in disc(x)), [x], create_graph=True)
        penalty = gradient.square().sum([1, 2, 3]).mean() * (1e-4 / 2) * 16
        penalty.backward()
        sanitize(disc.parameters())
        adam_d.step()
        return penalty.item()

    gdd = median_ms(gdd_step, args.warmup, args.repeats)
    r1 = median_ms(r1_step, 1, max(3, args.repeats // 3))
    with torch.no_grad():
        z = torch.randn_like(real)
        one = median_ms(lambda _: generate(net, z), args.warmup, args.repeats)
    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "edmStep": edm,
                "gddIteration": gdd,
                "r1Step": r1,
                "oneStep": one,
                "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )


if __name__ == "__main__":
    main()

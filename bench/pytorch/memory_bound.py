"""PyTorch's side of memory-bound.ts; prints JSON.

    python3 bench/pytorch/memory_bound.py THREADS REPEATS BATCH SIZE CHANNELS
"""
import json
import sys
import time

import torch
import torch.nn.functional as F

threads, repeats, batch, size, channels = map(int, sys.argv[1:])
torch.set_num_threads(threads)


def measure(function):
    times = []
    for i in range(-5, repeats):
        start = time.perf_counter()
        result = function()
        if i >= 0:
            times.append((time.perf_counter() - start) * 1e3)
        del result
    times.sort()
    return [times[len(times) // 2], times[0]]


def passes(memory_format):
    def images(side=size):
        return torch.randn(batch, channels, side, side).contiguous(memory_format=memory_format)

    x, dy, half = images(), images(), images(size // 2)
    gamma, beta = torch.ones(channels), torch.zeros(channels)
    scale, shift = torch.randn(batch, channels, 1, 1), torch.randn(batch, channels, 1, 1)
    groups = min(32, channels // 4)
    box = torch.full([channels, 1, 2, 2], 0.25)

    def norm():
        return F.group_norm(x, groups, gamma, beta)

    with torch.no_grad():
        times = {
            "group norm, SiLU": measure(lambda: F.silu(norm())),
            "group norm, scale, shift, SiLU": measure(lambda: F.silu(torch.addcmul(shift, norm(), scale + 1))),
            "(a + b + bias) scale": measure(lambda: (x + (dy + beta.reshape(1, -1, 1, 1))) * 0.5**0.5),
            "half the size": measure(lambda: F.conv2d(x, box, stride=2, groups=channels)),
            "twice the size": measure(lambda: F.conv_transpose2d(half, box, stride=2, groups=channels)),
            "concatenation": measure(lambda: torch.cat([x, dy], dim=1)),
            "a half of the channels": measure(lambda: x[:, : channels // 2].contiguous(memory_format=memory_format)),
            "sum over pixels": measure(lambda: dy.sum([0, 2, 3])),
        }
    wanted = [tensor.requires_grad_() for tensor in (x, gamma, beta)]
    y = F.silu(norm())
    times["group norm, SiLU: gradient"] = measure(lambda: torch.autograd.grad(y, wanted, dy, retain_graph=True))
    return times


formats = [passes(torch.contiguous_format), passes(torch.channels_last)]
print(json.dumps({name: min(times[name] for times in formats) for name in formats[0]}))

"""Makes warp.json: images warped by affine maps as ADA describes it, with PyTorch in float64.

python test/golden/augmentation/make-warp.py

Karras et al. 2020, appendix B: mirrored at the borders, upsampled by 2 with sym6, sampled bilinearly, downsampled with the same filter.
Maps say which place of the input an output pixel shows, in pixels from the centre.
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F

SYM6 = [0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466, 0.787641141030194,
        0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148]
f64 = torch.float64
taps = torch.tensor(SYM6, dtype=f64)
taps = taps / taps.sum()
REACH = len(SYM6) // 2


def move(x, y):
    return torch.tensor([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=f64)


def scale(x, y):
    return torch.diag(torch.tensor([x, y, 1], dtype=f64))


def filtered(x, dim, kernel, stride):
    x = x.movedim(dim, -1)
    y = F.conv1d(x.reshape(-1, 1, x.shape[-1]), kernel[None, None], stride=stride)
    return y.reshape(*x.shape[:-1], -1).movedim(-1, dim)


def upsampled(x, dim):
    """Zeros between the samples; then sample 2i + t - 5 gets tap t of sample i, twice."""
    spread = torch.stack([x, torch.zeros_like(x)], dim=dim + 1).flatten(dim, dim + 1)
    pad = [0, 0, REACH, REACH - 1] if dim == 2 else [REACH, REACH - 1, 0, 0]
    return filtered(F.pad(spread, pad), dim, 2 * taps.flip(0), 1)


def warped(x, maps):
    n, c, h, w = x.shape
    cx, cy = (w - 1) / 2, (h - 1) / 2
    corners = torch.tensor([[-cx, cx, cx, -cx], [-cy, -cy, cy, cy], [1, 1, 1, 1]], dtype=f64)
    places = (maps @ corners)[:, :2].movedim(1, 0).flatten(1)
    margin = torch.cat([-places, places]).amax(1) + torch.tensor([REACH - cx, REACH - cy] * 2)
    left, top, right, bottom = [int(min(max(m, 0), limit).ceil()) for m, limit in zip(margin, torch.tensor([w - 1, h - 1] * 2, dtype=f64))]
    x = F.pad(x, [left, right, top, bottom], mode='reflect')
    maps = move((left - right) / 2, (top - bottom) / 2) @ maps
    x = upsampled(upsampled(x, 2), 3)
    # Twice as fine, and the first of each pair of samples is the pixel's own.
    maps = move(-0.5, -0.5) @ scale(2, 2) @ maps @ scale(0.5, 0.5) @ move(0.5, 0.5)
    rows, columns = 2 * h + 2 * REACH, 2 * w + 2 * REACH
    grid_maps = scale(2 / x.shape[3], 2 / x.shape[2]) @ maps @ scale(columns / 2, rows / 2)
    grid = F.affine_grid(grid_maps[:, :2], [n, c, rows, columns], align_corners=False)
    x = F.grid_sample(x, grid, mode='bilinear', padding_mode='zeros', align_corners=False)[:, :, 1:-1, 1:-1]
    return filtered(filtered(x, 2, taps, 2), 3, taps, 2)


torch.manual_seed(0)
images = torch.randn(3, 2, 7, 6, dtype=f64).half().double()
maps = torch.tensor([
    [[0.55, -0.25, 1.3], [0.5, 1.2, -2.2], [0, 0, 1]],
    [[-0.4, 0.9, 0], [-0.9, -0.4, 0], [0, 0, 1]],
    [[1.5, 0, 0.5], [0, 0.7, 3], [0, 0, 1]],
], dtype=f64)
flat = lambda x: x.permute(0, 2, 3, 1).flatten().tolist()
result = warped(images, maps)
assert result.shape == images.shape
(Path(__file__).parent / 'warp.json').write_text(json.dumps(
    {'shape': [3, 7, 6, 2], 'images': flat(images), 'maps': maps.tolist(), 'warped': flat(result)}) + '\n')

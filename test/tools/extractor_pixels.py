"""How images are resized before each feature extractor: TensorFlow 1 (in NumPy), PyTorch, Pillow.

    python test/tools/extractor_pixels.py OUT.safetensors HEIGHTxWIDTH ... [--every 1]

For one hashed image of each size (uint8, HWC; test/support/hashed-weights.ts computes it too) what becomes of it:
`SIZE.tensorflow`, `SIZE.pytorch-fid`, `SIZE.clean` (299x299x3, float32, in [0, 255] before they are scaled), `SIZE.clip` and
`SIZE.dinov2` (224x224x3, uint8); of all values each `--every`th.
"""
import argparse
import os
import sys

import numpy as np
from PIL import Image


def tensorflow_resize(images, size):
    """TensorFlow 1's resize_bilinear without aligned corners: pixel o reads o * (old / new), in float32. [B, H, W, C]."""
    x = images.astype(np.float32)
    for axis in (2, 1):
        old = x.shape[axis]
        at = np.arange(size, dtype=np.float32) * np.float32(old / size)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, old - 1)
        weight = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
        a, b = np.take(x, low, axis), np.take(x, high, axis)
        x = a + (b - a) * weight
    return x


def clip_pixels(images):
    """CLIP's own preparation on Pillow images: the shorter side to 224 bicubic, and the centre."""
    import cpu_torchvision  # noqa: F401
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    prepare = Compose([Resize(224, interpolation=InterpolationMode.BICUBIC), CenterCrop(224)])
    return np.stack([np.asarray(prepare(Image.fromarray(image))) for image in images])


def main(out, sizes, every):
    import torch
    import torch.nn.functional as F
    from make_feature_goldens import hashed
    from safetensors.numpy import save_file

    result = {}
    for size in sizes:
        height, width = map(int, size.split("x"))
        image = np.floor(128 * (1 + hashed(size, (height * width * 3,)))).astype(np.uint8).reshape(height, width, 3)
        channels = [Image.fromarray(image[:, :, c].astype(np.float32)).resize((299, 299), Image.BICUBIC) for c in range(3)]
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        bilinear = F.interpolate(tensor, (299, 299), mode="bilinear", align_corners=False)
        pixels = {
            "tensorflow": tensorflow_resize(image[None], 299),
            "pytorch-fid": (bilinear[0].permute(1, 2, 0) * 255).numpy(),
            "clean": np.stack([np.asarray(channel).clip(0, 255) for channel in channels], 2),
            "clip": clip_pixels(image[None]),
            "dinov2": np.asarray(Image.fromarray(image).resize((224, 224), Image.BICUBIC)),
        }
        result |= {"%s.%s" % (size, key): np.ascontiguousarray(value).reshape(-1)[::every].copy() for key, value in pixels.items()}
    save_file(result, out)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("sizes", nargs="+")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    main(options.out, options.sizes, options.every)

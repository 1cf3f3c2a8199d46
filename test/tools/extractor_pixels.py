"""How images are resized before each feature extractor: TensorFlow 1 (in NumPy), PyTorch, Pillow.

    python test/tools/extractor_pixels.py OUT.safetensors HEIGHTxWIDTH ...

Writes, for one random image of each size, IMAGES (uint8, HWC) as `K.image`, and what becomes of it: `K.tensorflow`, `K.pytorch-fid`,
`K.clean` (299x299, float32, in [0, 255] before they are scaled), `K.clip` (224x224, uint8) and `K.dinov2` (224x224, uint8).
"""
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


def main(out, sizes):
    import torch
    import torch.nn.functional as F
    from safetensors.numpy import save_file

    random = np.random.default_rng(0)
    result = {}
    for k, size in enumerate(sizes):
        height, width = map(int, size.split("x"))
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        channels = [Image.fromarray(image[:, :, c].astype(np.float32)).resize((299, 299), Image.BICUBIC) for c in range(3)]
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        bilinear = F.interpolate(tensor, (299, 299), mode="bilinear", align_corners=False)
        result |= {
            "%d.image" % k: image,
            "%d.tensorflow" % k: tensorflow_resize(image[None], 299)[0],
            "%d.pytorch-fid" % k: (bilinear[0].permute(1, 2, 0) * 255).numpy(),
            "%d.clean" % k: np.stack([np.asarray(channel).clip(0, 255) for channel in channels], 2),
            "%d.clip" % k: clip_pixels(image[None])[0],
            "%d.dinov2" % k: np.asarray(Image.fromarray(image).resize((224, 224), Image.BICUBIC)),
        }
    save_file({key: np.ascontiguousarray(value) for key, value in result.items()}, out)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))
    main(sys.argv[1], sys.argv[2:])

"""Small images and what Pillow makes of them: `python make_resized_images.py OUT_DIRECTORY [SEED]`.

Writes cases.json (one row a case) and cases.bin (each input, then its output, as [height, width, channels] in uint8).
"""
import json
import os
import sys

import numpy as np
import PIL
from PIL import Image

FILTERS = {'box': Image.BOX, 'bilinear': Image.BILINEAR, 'bicubic': Image.BICUBIC, 'lanczos': Image.LANCZOS}


def adm(image, size):
    """ADM's preparation of ImageNet: box halvings, bicubic on the shorter side, centre."""
    while min(image.size) // size >= 2:
        image = image.resize((image.width // 2, image.height // 2), Image.BOX)
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def center_crop(image, size):
    """EDM's default preparation: the middle square, then Lanczos."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.LANCZOS)


def main(directory, seed=5):
    random = np.random.default_rng(int(seed))
    cases, blob = [], []

    def add(kind, pixels, made, **more):
        made = np.asarray(made).reshape(made.height, made.width, -1)
        cases.append({'kind': kind, 'from': list(pixels.shape), 'to': list(made.shape), **more})
        blob.extend([pixels.tobytes(), made.tobytes()])

    def picture(height, width, channels, hard):
        pixels = random.integers(0, 256, (height, width, channels), dtype=np.uint8)
        return np.where(pixels > 127, 255, 0).astype(np.uint8) if hard else pixels

    for index in range(32):
        height, width, to_height, to_width = (int(n) for n in random.integers(1, 25, 4))
        pixels = picture(height, width, 1 if index % 8 == 7 else 3, index % 2 == 0)
        name = list(FILTERS)[index // 2 % 4]
        image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        add('filter', pixels, image.resize((to_width, to_height), FILTERS[name]), filter=name)
    for height, width, size in [(33, 50, 8), (17, 16, 8), (15, 9, 8), (8, 8, 8), (40, 31, 7), (5, 6, 8), (64, 37, 5), (29, 43, 14)]:
        pixels = picture(height, width, 3, False)
        add('adm', pixels, adm(Image.fromarray(pixels), size))
        add('center-crop', pixels, center_crop(Image.fromarray(pixels), size))

    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, 'cases.json'), 'w') as file:
        json.dump({'pillow': PIL.__version__, 'cases': cases}, file, indent=1)
        file.write('\n')
    with open(os.path.join(directory, 'cases.bin'), 'wb') as file:
        file.write(b''.join(blob))


main(*sys.argv[1:])

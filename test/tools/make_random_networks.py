"""Small random networks of every kind in the format of test/golden, each also as an EDM snapshot NAME.pkl.

python test/tools/make_random_networks.py DIRECTORY [--count 6] [--seed 0]
"""
import argparse
import random
from pathlib import Path

import torch

from edm_networks import EDMPrecond, randomize
from make_edm_snapshot import write_io, write_snapshot, write_weights


def random_config(draw, kind):
    """Constructor arguments of a network of a few hundred thousand parameters."""
    levels = draw.choice([1, 2, 3])
    resolution = draw.choice([8, 16])
    config = dict(
        img_resolution=resolution,
        img_channels=draw.choice([1, 3, 4]),
        label_dim=draw.choice([0, 1, 7]),
        augment_dim=draw.choice([0, 9]),
        model_type=kind,
        channel_mult=[draw.choice([1, 2, 3]) for _ in range(levels)],
        channel_mult_emb=draw.choice([1, 2, 4]),
        num_blocks=draw.choice([1, 2, 3]),
        attn_resolutions=draw.sample([resolution >> level for level in range(levels)], draw.randint(0, levels)),
        dropout=draw.choice([0.0, 0.13]),
    )
    if kind == "DhariwalUNet":
        # The lowest level has heads of 64 channels.
        config.update(model_channels=32, channel_mult=[draw.choice([1, 2]) for _ in range(levels - 1)] + [draw.choice([2, 4])])
        # Elsewhere attention needs them too.
        widths = {resolution >> level: 32 * multiplier for level, multiplier in enumerate(config["channel_mult"])}
        config["attn_resolutions"] = [r for r in config["attn_resolutions"] if widths[r] >= 64]
        return config
    config.update(
        model_channels=draw.choice([8, 12, 16, 20]),
        embedding_type=draw.choice(["positional", "fourier"]),
        channel_mult_noise=draw.choice([1, 2]),
        encoder_type=draw.choice(["standard", "skip", "residual"]),
        decoder_type=draw.choice(["standard", "skip"]),
        resample_filter=draw.choice([[1, 1], [1, 3, 3, 1], [1, 2, 2, 1], [1, 4, 7, 7, 4, 1]]),
    )
    return config


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for index in range(options.count):
        seed = options.seed + index
        draw = random.Random(seed)
        kind = "DhariwalUNet" if index % 3 == 2 else "SongUNet"
        network = randomize(EDMPrecond(**random_config(draw, kind)), seed)
        path = options.directory / f"random-{seed}"
        write_snapshot(network, path.with_suffix(".pkl"), draw.choice([2, 3, 4, 5]), draw.choice(["published", "current"]))
        write_weights(network, path)
        write_io(network, path, seed)


if __name__ == "__main__":
    main()

"""Files of feature networks with random weights, in the formats and under the names that torchvision and timm publish.

    python test/tools/make_feature_weights.py DIR [--networks vgg16_bn tf_efficientnet_lite0 ...] [--seed 0]

Writes DIR/NAME.pth (a state dict in PyTorch's container) and DIR/NAME.safetensors. Weights are the libraries' own first
values; the statistics of batch normalisation are those of a batch of noise, so that features are neither 0 nor huge.
"""
import argparse
import os
import sys

import torch
from safetensors.torch import save_file

sys.path.insert(0, os.path.dirname(__file__))
from make_feature_goldens import library  # noqa: E402


def create(name):
    network = library(name)
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(2, 3, 224, 224))
    return network.eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--networks", nargs="+", default=["vgg16_bn", "tf_efficientnet_lite0"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.makedirs(options.directory, exist_ok=True)
    for name in options.networks:
        torch.manual_seed(options.seed)
        state = {key: value.contiguous() for key, value in create(name).state_dict().items()}
        path = os.path.join(options.directory, name)
        torch.save(state, path + ".pth")
        save_file(state, path + ".safetensors")
        print("%s: %d tensors, %d values" % (path, len(state), sum(value.numel() for value in state.values())))

"""A large product of float32 matrices."""
import torch


def prepare(settings):
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)

    def run():
        with torch.inference_mode():
            return a @ b

    return run, []

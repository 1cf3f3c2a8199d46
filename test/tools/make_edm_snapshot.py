"""Writes a network with random weights as an EDM snapshot pickle, in the layout of the published files.

python test/tools/make_edm_snapshot.py NETWORK OUT.pkl [--seed 0] [--protocol 4] [--io] [--batch 2] [--layout published|current]

NETWORK: a published architecture (cifar10-ncsnpp-uncond, cifar10-ncsnpp-cond, cifar10-ddpmpp-uncond, ffhq64-ncsnpp,
imagenet64-adm), or a JSON file with the constructor's arguments. `--io` writes OUT.io.safetensors and OUT.json beside it, in
the format of test/golden. `--layout published` has ordered dicts and NumPy's names of 2022, `current` those of this PyTorch.
"""
import argparse
import inspect
import json
import pickle
import sys
import types
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import edm_networks
from edm_networks import PUBLISHED, EDMPrecond, Recorded, randomize

# ----------------------------------------------------------------------------------------------------------------------
# The snapshot


def _standing_in(name, **attributes):
    """A module under a published name; its attributes are known to pickle as that module's."""
    module = types.ModuleType(name)
    for key, value in attributes.items():
        value.__module__, value.__qualname__, value.__name__ = name, key, key
        setattr(module, key, value)
    return module


def _function():
    def stand_in(*_):
        raise NotImplementedError("only its name is written")

    return stand_in


class EDMLoss(metaclass=Recorded):
    def __init__(self, P_mean=-1.2, P_std=1.2, sigma_data=0.5):
        self.P_mean, self.P_std, self.sigma_data = P_mean, P_std, sigma_data


class AugmentPipe(metaclass=Recorded):
    def __init__(self, p=1, **multipliers):
        self.p = float(p)
        for name, value in multipliers.items():
            setattr(self, name, float(value))


EasyDict = type("EasyDict", (dict,), {})
_reconstruct = _function()
_scalar = _function()


def stand_ins():
    """The Python modules whose names published files hold."""
    util = _standing_in("dnnlib.util", EasyDict=EasyDict)
    return {
        "torch_utils": _standing_in("torch_utils"),
        "torch_utils.persistence": _standing_in("torch_utils.persistence", _reconstruct_persistent_obj=_reconstruct),
        "dnnlib": _standing_in("dnnlib"),
        "dnnlib.util": util,
        "numpy.core.multiarray": _standing_in("numpy.core.multiarray", scalar=_scalar),
    }


@contextmanager
def replaced(modules):
    former = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in former.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


_UNKNOWN_IN_2022 = ("_backward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
                    "_forward_pre_hooks_with_kwargs", "_state_dict_pre_hooks")  # fmt: skip


class SnapshotPickler(pickle.Pickler):
    def __init__(self, file, protocol, published, source):
        super().__init__(file, protocol)
        self.protocol = protocol
        self.published = published
        self.source = source

    def reducer_override(self, instance):
        if isinstance(type(instance), Recorded):
            meta = dict(type="class", version=6, module_src=self.source, class_name=type(instance).__name__, state=self._state(instance))
            return _reconstruct, (meta,)
        if self.published and isinstance(instance, np.generic):
            return _scalar, (instance.dtype, instance.tobytes())
        if self.published and isinstance(instance, torch.nn.ModuleDict):
            function, arguments, *_ = instance.__reduce_ex__(self.protocol)
            return function, arguments, self._state(instance)
        return NotImplemented

    def _state(self, instance):
        state = dict(instance.__dict__)
        if self.published and isinstance(instance, torch.nn.Module):
            for name in _UNKNOWN_IN_2022:
                state.pop(name, None)
            for name in ("_parameters", "_buffers", "_modules"):
                state[name] = OrderedDict(state[name])
        return state


def write_snapshot(network, path, protocol=4, layout="published"):
    published = layout == "published"
    config = network._init_kwargs
    data = dict(ema=network)
    if published:
        data["loss_fn"] = EDMLoss(sigma_data=np.float64(0.5))
        data["augment_pipe"] = AugmentPipe(p=0.12, xflip=1e8, yflip=1, scale=1, rotate_frac=1, aniso=1, translate_frac=1)
        data["dataset_kwargs"] = dict(
            class_name="training.dataset.ImageFolderDataset", path="images.zip", use_labels=config["label_dim"] > 0, xflip=False,
            max_size=50000, interface=EasyDict(img_resolution=config["img_resolution"], img_channels=config["img_channels"]),
        )  # fmt: skip
    else:
        data["augment_pipe"] = None
        data["dataset_kwargs"] = dict(resolution=config["img_resolution"], use_labels=config["label_dim"] > 0)
    source = inspect.getsource(edm_networks) if published else ""
    with warnings.catch_warnings(), replaced(stand_ins()), open(path, "wb") as file:
        warnings.simplefilter("ignore")
        SnapshotPickler(file, protocol, published, source).dump(data)


# ----------------------------------------------------------------------------------------------------------------------
# Inputs and outputs, in the format of test/golden


def evaluate(network, seed=0, batch=2, gradients=True):
    """Inputs, outputs, and (with `gradients`) the gradient norm of every parameter for sum(D * cotangent)."""
    generator = torch.Generator().manual_seed(seed + 1)
    config = network._init_kwargs
    shape = (batch, config["img_channels"], config["img_resolution"], config["img_resolution"])
    draw = lambda *size: torch.randn(size, generator=generator)  # noqa: E731
    sigma = torch.tensor([0.3 * 4.0**index for index in range(batch)])
    labels = augmentation = None
    if config["label_dim"]:
        classes = torch.randint(config["label_dim"], (batch,), generator=generator)
        labels = torch.nn.functional.one_hot(classes, config["label_dim"]).float()
    if config.get("augment_dim"):
        augmentation = draw(batch, config["augment_dim"])
    x = draw(*shape)
    edm_input = (draw(*shape) * (sigma**2 + 0.25).sqrt()[:, None, None, None]).requires_grad_(gradients)
    cotangent = draw(*shape)
    latent = draw(*shape)
    with torch.set_grad_enabled(gradients):
        output = network(edm_input, sigma, labels, augmentation)
    norms = {}
    tensors = dict(x=x, sigma=sigma, edm_input=edm_input.detach(), edm_output=output.detach(), cotangent=cotangent, latent=latent)
    if gradients:
        network.zero_grad()
        (output * cotangent).sum().backward()
        tensors["edm_input_grad"] = edm_input.grad
        # A parameter without influence has no gradient: the lowest level's attention of a 1x1 image, for one.
        norms = {name: 0.0 if p.grad is None else p.grad.norm().item() for name, p in network.named_parameters()}
        network.zero_grad()
    with torch.no_grad():
        tensors["raw_output"] = network.model(x, sigma.log() / 4, labels, augmentation)
        tensors["one_step_output"] = network.one_step(latent, labels)
    if labels is not None:
        tensors["class_labels"] = labels
    if augmentation is not None:
        tensors["augment_labels"] = augmentation
    return {name: tensor.contiguous() for name, tensor in tensors.items()}, norms


def write_weights(network, path):
    """PATH.weights.safetensors."""
    save_file({name: value.detach().contiguous() for name, value in network.state_dict().items()}, f"{path}.weights.safetensors")


def write_io(network, path, seed=0, batch=2, gradients=True):
    """PATH.io.safetensors and PATH.json."""
    tensors, norms = evaluate(network, seed, batch, gradients)
    save_file(tensors, f"{path}.io.safetensors")
    description = dict(config=network._init_kwargs, parameters=sum(p.numel() for p in network.parameters()))
    if gradients:
        description["gradient_norms"] = norms
    Path(f"{path}.json").write_text(json.dumps(description, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--protocol", type=int, default=4, choices=range(2, 6))
    parser.add_argument("--layout", choices=["published", "current"], default="published")
    parser.add_argument("--io", action="store_true")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--no-gradients", action="store_true", help="leave the gradients out of --io; they need most of the memory")
    options = parser.parse_args()
    config = PUBLISHED.get(options.network) or json.loads(Path(options.network).read_text())
    torch.manual_seed(options.seed)
    network = randomize(EDMPrecond(**config), options.seed)
    write_snapshot(network, options.out, options.protocol, options.layout)
    count = sum(parameter.numel() for parameter in network.parameters())
    print(f"{options.out}: {count:,} parameters, {options.out.stat().st_size:,} bytes")
    if options.io:
        write_io(network, options.out.with_suffix(""), options.seed, options.batch, not options.no_gradients)


if __name__ == "__main__":
    main()

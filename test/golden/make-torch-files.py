"""
Small files of PyTorch's kinds and the values that PyTorch reads from them, for the tests of src/core/torch-file.

    python test/golden/make-torch-files.py

Writes into torch-files/ beside it; needs torch, numpy and safetensors. `views-*.pth` and `snapshot-p*.pkl` hold the tensors of `views.safetensors` and
`snapshot.safetensors`, row-major.
"""

import collections
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

OUT = Path(__file__).parent / "torch-files"
torch.manual_seed(0)


def views():
    """Every dtype, and every way in which a tensor can lie in its storage."""
    base = torch.randn(4, 6)
    block = torch.arange(2 * 3 * 4, dtype=torch.float64).reshape(2, 3, 4)
    return collections.OrderedDict(
        f64=torch.randn(3, dtype=torch.float64),
        f32=torch.tensor([1.5, float("nan"), float("inf"), -0.0]),
        f16=torch.randn(2, 3).half(),
        bf16=torch.randn(5).bfloat16(),
        i64=torch.tensor([2**62, -3]),
        i32=torch.tensor([[-7]], dtype=torch.int32),
        i16=torch.tensor([-9, 9], dtype=torch.int16),
        i8=torch.tensor([-128, 127], dtype=torch.int8),
        u8=torch.tensor([0, 255], dtype=torch.uint8),
        bool=torch.tensor([True, False, True]),
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 3),
        base=base,
        row=base[2],
        column=base[:, 1],
        transposed=base.t(),
        sliced=base[1::2, ::3],
        expanded=torch.tensor([[1.0], [2.0]]).expand(2, 3),
        permuted=block.permute(2, 0, 1),
        overlapping=torch.arange(5.0).as_strided((3, 3), (1, 1)),
        parameter=torch.nn.Parameter(torch.randn(2, 2)),
        flags=torch.tensor([[True, False], [False, False]]).t(),
    )


def fake_modules():
    """The modules whose names an EDM snapshot holds; nothing of them is needed to read it."""
    persistence = types.ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta):
        raise NotImplementedError

    _reconstruct_persistent_obj.__module__ = persistence.__name__
    _reconstruct_persistent_obj.__qualname__ = _reconstruct_persistent_obj.__name__
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj
    util = types.ModuleType("dnnlib.util")

    class EasyDict(dict):
        pass

    EasyDict.__module__, EasyDict.__qualname__ = util.__name__, "EasyDict"
    util.EasyDict = EasyDict
    for name, module in {"torch_utils": types.ModuleType("torch_utils"), "dnnlib": types.ModuleType("dnnlib"), persistence.__name__: persistence, util.__name__: util}.items():
        sys.modules[name] = module
    sys.modules["torch_utils"].persistence = persistence
    sys.modules["dnnlib"].util = util
    return _reconstruct_persistent_obj, EasyDict


RECONSTRUCT, EASY_DICT = fake_modules()


class Persistent:
    def __init__(self, class_name, **state):
        self.class_name, self.fields = class_name, state

    def __reduce__(self):
        meta = dict(type="class", version=6, module_src="raise SystemExit\n", class_name=self.class_name, state=self.fields)
        return RECONSTRUCT, (meta,), None


def module(class_name, parameters=(), buffers=(), modules=(), transient=(), **attributes):
    """A module as PyTorch 1.12 and before keep it: ordered dicts."""
    ordered = collections.OrderedDict
    return Persistent(
        class_name,
        training=False,
        _parameters=ordered(parameters),
        _buffers=ordered(buffers),
        _non_persistent_buffers_set=set(transient),
        _backward_hooks=ordered(),
        _modules=ordered(modules),
        **attributes,
    )


def snapshot():
    weight = torch.nn.Parameter(torch.randn(3, 2).half(), requires_grad=False)
    conv = module("Conv2d", [("weight", weight), ("bias", None)], [("resample_filter", torch.ones(1, 1, 2, 2) / 4)], in_channels=np.int64(2))
    block = module("UNetBlock", modules=[("conv0", conv), ("skip", None)], skip_scale=np.sqrt(0.5))
    unet = module("SongUNet", modules=[("enc", torch.nn.ModuleDict()), ("tied", block), ("again", block)], _init_kwargs=EASY_DICT(channel_mult=[1, 2]))
    unet.fields["_modules"]["enc"]._modules["8x8_conv"] = module(
        "Conv2d", [("weight", torch.nn.Parameter(torch.randn(2, 3)))], [("scratch", torch.zeros(1))], transient=["scratch"]
    )
    root = dict(
        ema=module("EDMPrecond", modules=[("model", unet)], sigma_max=float("inf"), _init_args=(), _init_kwargs=EASY_DICT(img_resolution=8, label_dim=0)),
        loss_fn=Persistent("EDMLoss", P_mean=-1.2, P_std=1.2, sigma_data=0.5),
        augment_pipe=Persistent("AugmentPipe", xflip=1e8, table=np.arange(6, dtype=np.float32).reshape(2, 3)),
        dataset_kwargs=EASY_DICT(class_name="training.dataset.ImageFolderDataset", resolution=8, max_size=np.int32(50000), seen={1, 2}),
        progress=dict(kimg=np.float32(0.5), done=np.bool_(True), big=2**70, pair=(1, -2), raw=b"\x00\xff" * 3, note="\u03c3 = 0.5"),
    )
    expected = {
        "model.enc.8x8_conv.weight": unet.fields["_modules"]["enc"]._modules["8x8_conv"].fields["_parameters"]["weight"],
        **{f"model.{name}.conv0.{key}": value for name in ("tied", "again") for key, value in (("weight", weight), ("resample_filter", conv.fields["_buffers"]["resample_filter"]))},
    }
    return root, expected


def contiguous(tensors):
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}


def main():
    OUT.mkdir(exist_ok=True)
    tensors = views()
    save_file(contiguous(tensors), OUT / "views.safetensors")
    torch.save(tensors, OUT / "views-zip.pth")
    torch.save(tensors, OUT / "views-zip-p4.pth", pickle_protocol=4)
    torch.save(tensors, OUT / "views-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(tensors, OUT / "views-legacy-p4.pth", _use_new_zipfile_serialization=False, pickle_protocol=4)
    torch.save(dict(u16=torch.tensor([65535, 1], dtype=torch.uint16), f8=torch.tensor([1.0, -2.0]).to(torch.float8_e4m3fn)), OUT / "dtypes-v3.pth")
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.SiLU(), torch.nn.GroupNorm(1, 3)), OUT / "module.pth")

    root, expected = snapshot()
    save_file(contiguous(expected), OUT / "snapshot.safetensors")
    for protocol in range(6):
        (OUT / f"snapshot-p{protocol}.pkl").write_bytes(pickle.dumps(root, protocol=protocol))

    refused = OUT / "refused"
    refused.mkdir(exist_ok=True)
    torch.save(dict(sparse=torch.eye(2).to_sparse()), refused / "sparse.pth")
    torch.save(dict(quantized=torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)), refused / "quantized.pth")
    torch.save(dict(complex=torch.ones(2, dtype=torch.complex64)), refused / "complex.pth")
    torch.jit.script(torch.nn.Linear(1, 1)).save(refused / "script.pth")


main()

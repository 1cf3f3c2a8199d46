"""A safetensors file as the libraries' state dicts are published: an OrderedDict with PyTorch's metadata, in either container.

    python test/tools/make_state_dict.py IN.safetensors OUT.pth [--legacy] [--dtype float16] [--nested KEY]

`num_batches_tracked`, a classifier and its bias are added as the libraries have them. `--nested` puts the dict under a key, as
training checkpoints do. Needs PyTorch and safetensors.
"""
import argparse
from collections import OrderedDict

import torch
from safetensors.torch import load_file

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("--legacy", action="store_true")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--nested")
    options = parser.parse_args()
    state = OrderedDict()
    for name, tensor in sorted(load_file(options.source).items()):
        state[name] = tensor.to(getattr(torch, options.dtype))
        if name.endswith("running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    state["classifier.weight"], state["classifier.bias"] = torch.zeros(1000, 8), torch.zeros(1000)
    state._metadata = OrderedDict({"": {"version": 1}, "classifier": {"version": 1}})
    content = {options.nested: state, "epoch": 3} if options.nested else state
    torch.save(content, options.out, _use_new_zipfile_serialization=not options.legacy)

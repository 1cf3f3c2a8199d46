"""Loads students that onestep saved into the same architectures in PyTorch, and writes what PyTorch then has and computes.

python test/tools/load_student.py STUDENT.safetensors OUT [STUDENT.safetensors OUT ...]

OUT.weights.safetensors, OUT.io.safetensors and OUT.json are in the format of test/golden. State dicts must fit strictly.
"""
import json
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from edm_networks import EDMPrecond
from make_edm_snapshot import write_io, write_weights

torch.set_num_threads(1)
for student, out in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    with safe_open(student, "pt") as file:
        config = json.loads(file.metadata()["config"])
    network = EDMPrecond(**config)
    network.load_state_dict(load_file(student), strict=True)
    network.eval()
    write_weights(network, out)
    write_io(network, out)

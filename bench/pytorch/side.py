"""PyTorch's side of a job of `npm run bench`, in a process that does nothing else.

    python3 bench/pytorch/side.py --job quickstart-edm [--threads 2] [--batch 64] [--compile] [--channels-last]

Says JSON, a line each: first what it is and how many parameters each network trains, then for every `run` on standard input the
milliseconds, for `peak` the peak resident memory. A job that PyTorch cannot do gives `error`. Float32.
"""
import argparse
import importlib
import json
import os
import sys
import time
import traceback

import torch

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "test", "tools"))

# The file that has a job's function; a job is the file's name and its own.
FILES = {"quickstart": "quickstart", "cifar10": "published", "imagenet64": "published", "projected": "projected", "matrix": "matrix"}


class Settings:
    """How the job is to be done."""

    def __init__(self, options):
        self.job, self.batch, self.compiles = options.job, options.batch, options.compile
        self.memory_format = torch.channels_last if options.channels_last else torch.contiguous_format

    def compile(self, function):
        """`function` by torch.compile in its default mode, or as it is."""
        return torch.compile(function, dynamic=False) if self.compiles else function

    def place(self, value):
        """A network or images in the memory format."""
        return value.to(memory_format=self.memory_format)

    def noise(self, shape):
        return torch.randn(shape).contiguous(memory_format=self.memory_format)


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    # What a job prints is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(**answer):
        print(json.dumps(answer), file=answers, flush=True)

    idle = peak()
    file = importlib.import_module(FILES[options.job.split("-")[0]])
    run, trained = file.prepare(Settings(options))
    say(description=f"PyTorch {torch.__version__}", trained=trained, idle=idle)
    for line in sys.stdin:
        if line.strip() == "peak":
            say(peak=peak())
            continue
        start = time.perf_counter()
        try:
            run()
            say(milliseconds=(time.perf_counter() - start) * 1e3)
        except Exception as error:
            traceback.print_exc()
            say(error=str(error).strip().split("\n")[0])


if __name__ == "__main__":
    main()

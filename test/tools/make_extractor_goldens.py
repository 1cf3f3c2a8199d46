"""Golden vectors of the feature extractors, from torchvision's, transformers' and timm's networks and Pillow's resizing.

    python test/tools/make_extractor_goldens.py OUT [--networks inception-v3 clip-small dinov2-small ...] [--files DIR]

Weights and images are not stored: every value is a hash of its tensor's published name and of its index, see `hashed` in
make_feature_goldens.py and test/support/hashed-file.ts, which computes them too. The statistics of batch normalisation are hashes as well:
measured ones make a network that multiplies rounding errors by a hundred, where PyTorch itself is 3e-5 from double precision. OUT/NAME.safetensors holds, for IMAGES (uint8, NHWC):

    features.K               of the images of IMAGES[K]
    probabilities.K          inception-v3: softmax of the logits without the bias; biased.K with it

inception-v3, clip-hf, clip-openai, dinov2-hf and dinov2-meta are of full size (the last two take 4 GB of memory); clip-small and
dinov2-small are the same code with fewer and narrower blocks. --files writes the weights too, as DIR/NAME.pth: a state dict in the
published layout. Needs torchvision, timm, transformers and Pillow.
"""
import argparse
import functools
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.numpy import save_file

sys.path.insert(0, os.path.dirname(__file__))
import cpu_torchvision  # noqa: E402,F401
import timm  # noqa: E402
import torchvision  # noqa: E402
import torchvision.models.inception as inception  # noqa: E402
from extractor_pixels import clip_pixels, tensorflow_resize  # noqa: E402
from make_feature_goldens import hashed, weights  # noqa: E402

IMAGES = [(2, 32, 32), (1, 40, 56)]
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def images(count, height, width):
    """Smooth enough that resizing leaves something of it: blocks of 4 pixels and noise."""
    coarse = hashed("blocks", (count * (height // 4) * (width // 4) * 3,)).reshape(count, height // 4, width // 4, 3)
    fine = hashed("noise", (count * height * width * 3,)).reshape(count, height, width, 3)
    values = 127.5 + 90 * coarse.repeat(4, 1).repeat(4, 2) + 37 * fine
    return np.floor(values).astype(np.uint8)


def value(name, shape):
    """Leading axes of one element do not count; scales of residual branches lie around 1."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    if name.endswith(("gamma", "lambda1")):
        return (1 + 0.3 * hashed(name, shape)).astype(np.float32)
    if "position" in name or "pos_embed" in name or name.endswith(("class_embedding", "_token")):
        return (0.5 * hashed(name, shape)).reshape(shape).astype(np.float32)
    return weights(name, shape, 2 if name.startswith(("Conv2d", "Mixed", "fc")) else 1)


def fill(state):
    return {
        name: torch.from_numpy(value(name, tuple(tensor.shape))).reshape(tensor.shape) if tensor.dtype.is_floating_point else tensor
        for name, tensor in state.items()
    }


class Pooling:
    """What torchvision's Inception takes from torch.nn.functional, with the poolings of TensorFlow's network."""

    relu, max_pool2d, dropout = staticmethod(F.relu), staticmethod(F.max_pool2d), staticmethod(F.dropout)
    adaptive_avg_pool2d, last = staticmethod(F.adaptive_avg_pool2d), False

    def avg_pool2d(self, x, kernel_size, stride, padding):
        if self.last:
            return F.max_pool2d(x, kernel_size, stride, padding)
        return F.avg_pool2d(x, kernel_size, stride, padding, count_include_pad=False)


class Inception(torch.nn.Module):
    def __init__(self):
        super().__init__()
        inception.F = self.pooling = Pooling()
        n = self.network = torchvision.models.inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False, transform_input=False)
        n.load_state_dict(fill(n.state_dict()))
        n.Mixed_7c.register_forward_pre_hook(lambda *_: setattr(self.pooling, "last", True))
        n.Mixed_7c.register_forward_hook(lambda *_: setattr(self.pooling, "last", False))
        self.pooled = []
        n.avgpool.register_forward_hook(lambda _, __, y: self.pooled.append(y.flatten(1)))
        n.eval()

    def prepare(self, x):
        return (torch.from_numpy(tensorflow_resize(x, 299)).permute(0, 3, 1, 2) - 128) / 128

    def results(self, k, x):
        self.pooled.clear()
        biased = self.network(self.prepare(x))
        logits = biased - self.network.fc.bias
        return {"features": self.pooled[0], "probabilities": logits.softmax(1), "biased": biased.softmax(1)}

    def state(self):
        return self.network.state_dict()


def normalized(pixels, mean, std):
    return ((torch.from_numpy(pixels).float() / 255 - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2)


class Clip(torch.nn.Module):
    def __init__(self, layout, **config):
        super().__init__()
        if layout == "hf":
            from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

            n = CLIPVisionModelWithProjection(CLIPVisionConfig(patch_size=32, **config))
            self.weights = fill(n.state_dict())
            n.load_state_dict(self.weights)
            self.embed = lambda x: n(x).image_embeds
        else:
            n = timm.create_model("vit_base_patch32_clip_quickgelu_224", num_classes=512)
            parts = {"attn.in_proj_weight": (2304, 768), "attn.in_proj_bias": (2304,), "attn.out_proj.weight": (768, 768), "attn.out_proj.bias": (768,)}
            parts |= {"mlp.c_fc.weight": (3072, 768), "mlp.c_fc.bias": (3072,), "mlp.c_proj.weight": (768, 3072), "mlp.c_proj.bias": (768,)}
            parts |= {"ln_%d.%s" % (i, part): (768,) for i in (1, 2) for part in ("weight", "bias")}
            shapes = {"visual.transformer.resblocks.%d.%s" % (i, name): shape for i in range(12) for name, shape in parts.items()}
            shapes |= {"visual.%s.%s" % (norm, part): (768,) for norm in ("ln_pre", "ln_post") for part in ("weight", "bias")}
            shapes |= {"visual.class_embedding": (768,), "visual.positional_embedding": (50, 768)}
            shapes |= {"visual.conv1.weight": (768, 3, 32, 32), "visual.proj": (768, 512)}
            self.weights = {name: torch.from_numpy(value(name, shape)) for name, shape in shapes.items()}
            # timm reads OpenAI's names itself.
            n.load_state_dict(timm.models.vision_transformer.checkpoint_filter_fn(dict(self.weights), n))
            self.embed = n
        n.eval()

    def results(self, k, x):
        return {"features": self.embed(normalized(clip_pixels(x), *CLIP))}

    def state(self):
        return self.weights


def interpolate(positions):
    """37x37 positions to 16x16 as DINOv2's published code does: PyTorch's bicubic by the factor (16 + 0.1) / 37, not by the size."""
    first, rest = positions[:, :1], positions[:, 1:]
    grid = rest.reshape(1, 37, 37, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, scale_factor=(16.1 / 37, 16.1 / 37), mode="bicubic", antialias=False)
    return torch.cat((first, grid.permute(0, 2, 3, 1).flatten(1, 2)), 1)


class Dinov2(torch.nn.Module):
    def __init__(self, layout, **config):
        super().__init__()
        if layout == "hf":
            from transformers import Dinov2Config, Dinov2Model

            n = Dinov2Model(Dinov2Config(image_size=518, patch_size=14, **config))
            # transformers 5 has other names in memory than in the published files.
            parts = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value", "o_proj": "output.dense"}
            published = {name: functools.reduce(lambda n, part: n.replace("attention." + part, "attention." + parts[part]), parts, name) for name in n.state_dict()}
            self.weights = fill({published[name]: tensor for name, tensor in n.state_dict().items()})
            n.load_state_dict({name: self.weights[published[name]] for name in published})
            n.embeddings.interpolate_pos_encoding = lambda *_: interpolate(n.embeddings.position_embeddings)
            self.embed = lambda x: n(x).pooler_output
        else:
            n = timm.create_model("vit_large_patch14_dinov2", img_size=224, num_classes=0)
            shapes = {name: tuple(tensor.shape) for name, tensor in n.state_dict().items()} | {"pos_embed": (1, 1370, 1024)}
            self.weights = {name: torch.from_numpy(value(name, shape)).reshape(shape) for name, shape in shapes.items()}
            n.load_state_dict(self.weights | {"pos_embed": interpolate(self.weights["pos_embed"])})
            self.embed = n
        n.eval()

    def results(self, k, x):
        pixels = np.stack([np.asarray(Image.fromarray(image).resize((224, 224), Image.BICUBIC)) for image in x])
        return {"features": self.embed(normalized(pixels, *IMAGENET))}

    def state(self):
        return self.weights


small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
NETWORKS = {
    "inception-v3": Inception,
    "clip-small": lambda: Clip("hf", intermediate_size=256, projection_dim=16, **small),
    "dinov2-small": lambda: Dinov2("hf", **small),
    "clip-hf": lambda: Clip("hf"),
    "clip-openai": lambda: Clip("openai"),
    "dinov2-hf": lambda: Dinov2("hf", hidden_size=1024, num_hidden_layers=24, num_attention_heads=16),
    "dinov2-meta": lambda: Dinov2("meta"),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--files")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    for name in options.networks:
        with torch.no_grad():
            network = NETWORKS[name]()
            result = {}
            for k, shape in enumerate(IMAGES):
                for key, tensor in network.results(k, images(*shape)).items():
                    result["%s.%d" % (key, k)] = tensor
                    print("%s %s.%d %s root mean square %.4f" % (name, key, k, list(tensor.shape), tensor.square().mean().sqrt()))
        result = {key: np.ascontiguousarray(tensor.numpy()) for key, tensor in result.items()}
        save_file(result, os.path.join(options.out, name + ".safetensors"))
        if options.files:
            os.makedirs(options.files, exist_ok=True)
            torch.save(network.state(), os.path.join(options.files, name + ".pth"))
        del network

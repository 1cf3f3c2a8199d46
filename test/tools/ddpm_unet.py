"""Golden DDPM networks in diffusers' folder layout, made with PyTorch alone: python test/tools/ddpm_unet.py test/golden

Our own network of the DDPM family, written from what `UNet2DModel` folders publish (configuration keys, parameter names and
shapes) and from Ho et al. 2020 (arXiv 2006.11239). Weights are random, rounded to float16; everything is computed in float32.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F


def sinusoids(t, width, flip, shift):
    half = width // 2
    frequency = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / (half - shift))
    phase = t[:, None].float() * frequency[None, :]
    parts = (phase.cos(), phase.sin()) if flip else (phase.sin(), phase.cos())
    return torch.cat(parts, dim=1)


class Mapping(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.linear_1 = nn.Linear(width, out)
        self.linear_2 = nn.Linear(out, out)

    def forward(self, x):
        return self.linear_2(F.silu(self.linear_1(x)))


class Resnet(nn.Module):
    def __init__(self, c, cin, cout, scale=1.0):
        super().__init__()
        groups, eps = c["norm_num_groups"], c["norm_eps"]
        self.norm1 = nn.GroupNorm(groups, cin, eps=eps)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        self.time_emb_proj = nn.Linear(4 * c["block_out_channels"][0], cout)
        self.norm2 = nn.GroupNorm(groups, cout, eps=eps)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(cin, cout, 1) if cin != cout else None
        self.scale = scale

    def forward(self, x, emb):
        y = self.conv1(F.silu(self.norm1(x)))
        y = y + self.time_emb_proj(F.silu(emb))[:, :, None, None]
        y = self.conv2(F.silu(self.norm2(y)))
        return ((x if self.conv_shortcut is None else self.conv_shortcut(x)) + y) / self.scale


class Attention(nn.Module):
    def __init__(self, c, width, scale=1.0):
        super().__init__()
        self.heads = 1 if c["attention_head_dim"] is None else width // c["attention_head_dim"]
        self.group_norm = nn.GroupNorm(c["norm_num_groups"], width, eps=c["norm_eps"])
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.scale = scale

    def forward(self, x):
        b, width, h, w = x.shape
        rows = self.group_norm(x).reshape(b, width, h * w).transpose(1, 2)
        q, k, v = (
            layer(rows).reshape(b, h * w, self.heads, width // self.heads).transpose(1, 2)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        attention = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(width // self.heads), dim=3)
        mixed = (attention @ v).transpose(1, 2).reshape(b, h * w, width)
        return (x + self.to_out[0](mixed).transpose(1, 2).reshape(x.shape)) / self.scale


class Down(nn.Module):
    def __init__(self, width, padding):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=padding)
        self.padding = padding

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.padding == 0 else x)


class Up(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return self.conv(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))


class Level(nn.Module):
    def __init__(self, resnets, attentions=None, downsampler=None, upsampler=None):
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.attentions = nn.ModuleList(attentions) if attentions else None
        self.downsamplers = nn.ModuleList([downsampler]) if downsampler else None
        self.upsamplers = nn.ModuleList([upsampler]) if upsampler else None

    def at(self, index, x, emb):
        x = self.resnets[index](x, emb)
        return self.attentions[index](x) if self.attentions else x


class DdpmUNet(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        widths, layers = c["block_out_channels"], c["layers_per_block"]
        count = len(widths)
        self.conv_in = nn.Conv2d(c["in_channels"], widths[0], 3, padding=1)
        self.time_embedding = Mapping(widths[0], 4 * widths[0])

        down, kept, channels = [], [widths[0]], widths[0]
        for i, (kind, width) in enumerate(zip(c["down_block_types"], widths)):
            resnets = [Resnet(c, channels if j == 0 else width, width) for j in range(layers)]
            attentions = [Attention(c, width) for _ in range(layers)] if kind == "AttnDownBlock2D" else None
            sampler = Down(width, c["downsample_padding"]) if i + 1 < count else None
            down.append(Level(resnets, attentions, downsampler=sampler))
            kept += [width] * (layers + (sampler is not None))
            channels = width
        self.down_blocks = nn.ModuleList(down)

        scale = c["mid_block_scale_factor"]
        attentions = [Attention(c, channels, scale)] if c["add_attention"] else None
        self.mid_block = Level([Resnet(c, channels, channels, scale) for _ in range(2)], attentions)

        up = []
        for i, (kind, width) in enumerate(zip(c["up_block_types"], reversed(widths))):
            resnets = []
            for _ in range(layers + 1):
                resnets.append(Resnet(c, channels + kept.pop(), width))
                channels = width
            attentions = [Attention(c, width) for _ in range(layers + 1)] if kind == "AttnUpBlock2D" else None
            up.append(Level(resnets, attentions, upsampler=Up(width) if i + 1 < count else None))
        self.up_blocks = nn.ModuleList(up)
        self.conv_norm_out = nn.GroupNorm(c["norm_num_groups"], widths[0], eps=c["norm_eps"])
        self.conv_out = nn.Conv2d(widths[0], c["out_channels"], 3, padding=1)

    def forward(self, x, t):
        c = self.c
        emb = self.time_embedding(sinusoids(t, c["block_out_channels"][0], c["flip_sin_to_cos"], c["freq_shift"]))
        x = self.conv_in(x)
        kept = [x]
        for level in self.down_blocks:
            for j in range(len(level.resnets)):
                x = level.at(j, x, emb)
                kept.append(x)
            if level.downsamplers:
                x = level.downsamplers[0](x)
                kept.append(x)
        x = self.mid_block.resnets[0](x, emb)
        if self.mid_block.attentions:
            x = self.mid_block.attentions[0](x)
        x = self.mid_block.resnets[1](x, emb)
        for level in self.up_blocks:
            for j in range(len(level.resnets)):
                x = level.at(j, torch.cat([x, kept.pop()], dim=1), emb)
            if level.upsamplers:
                x = level.upsamplers[0](x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


def sigmas_of(s):
    if s["beta_schedule"] == "linear":
        betas = np.linspace(s["beta_start"], s["beta_end"], s["num_train_timesteps"])
    else:
        betas = np.linspace(s["beta_start"] ** 0.5, s["beta_end"] ** 0.5, s["num_train_timesteps"]) ** 2
    kept = np.cumprod(1 - betas)
    return np.sqrt((1 - kept) / kept)


def denoise(net, prediction, levels, x, sigma):
    """D(x, sigma) by its definition; steps between the discrete ones are linear in ln sigma."""
    t = np.interp(np.log(sigma), np.log(levels), np.arange(len(levels)))
    # float32 cannot tell a step's own level from the step.
    t = np.where(np.abs(t - np.round(t)) < 1e-6, np.round(t), t)
    column = lambda values: torch.tensor(values, dtype=torch.float32)[:, None, None, None]
    xt = x * column(1 / np.sqrt(1 + sigma**2))
    out = net(xt, torch.tensor(t, dtype=torch.float32))
    if prediction == "epsilon":
        return x - column(sigma) * out
    return x * column(1 / (1 + sigma**2)) - column(sigma / np.sqrt(1 + sigma**2)) * out


BASE = dict(
    _class_name="UNet2DModel", _diffusers_version="0.20.0", act_fn="silu", add_attention=True, attention_head_dim=None,
    attn_norm_num_groups=None, block_out_channels=[16, 32, 32], center_input_sample=False, class_embed_type=None,
    down_block_types=["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"], downsample_padding=0, downsample_type="conv",
    dropout=0.0, flip_sin_to_cos=False, freq_shift=1, in_channels=3, layers_per_block=1, mid_block_scale_factor=1,
    norm_eps=1e-6, norm_num_groups=8, num_class_embeds=None, num_train_timesteps=None, out_channels=3,
    resnet_time_scale_shift="default", sample_size=8, time_embedding_type="positional",
    up_block_types=["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"], upsample_type="conv",
)  # fmt: skip
SCHEDULER = dict(
    _class_name="DDPMScheduler", _diffusers_version="0.20.0", beta_end=0.02, beta_schedule="linear", beta_start=0.0001,
    clip_sample=True, num_train_timesteps=1000, prediction_type="epsilon", trained_betas=None, variance_type="fixed_large",
)  # fmt: skip

# The first as google/ddpm-cifar10-32 in small, in a pipeline's folder and with the attention's former names; the second
# differs from it in every option that changes the numbers, in a network's own folder.
VARIANTS = {
    "ddpm-unet": dict(unet={}, scheduler={}, pipeline=True, former_names=True),
    "ddpm-unet-v": dict(
        unet=dict(
            attention_head_dim=8, block_out_channels=[16, 32], down_block_types=["AttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "AttnUpBlock2D"], downsample_padding=1, flip_sin_to_cos=True, freq_shift=0,
            in_channels=1, out_channels=1, layers_per_block=2, mid_block_scale_factor=1.5, norm_eps=1e-3, norm_num_groups=4,
        ),
        scheduler=dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction"),
        pipeline=False,
        former_names=False,
    ),
}  # fmt: skip
FORMER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def former(name):
    for now, then in FORMER.items():
        name = name.replace(f".{now}.", f".{then}.")
    return name


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def make(folder, variant, seed):
    torch.manual_seed(seed)
    config, scheduler = {**BASE, **variant["unet"]}, {**SCHEDULER, **variant["scheduler"]}
    net = DdpmUNet(config)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "norm" in name:
                value += 0.2 * torch.randn_like(value)
            value.copy_(value.half().float())
    at = folder / "unet" if variant["pipeline"] else folder
    write_json(at / "config.json", config)
    write_json(folder / ("scheduler" if variant["pipeline"] else ".") / "scheduler_config.json", scheduler)
    weights = {name: value.detach().half().contiguous() for name, value in net.state_dict().items()}
    if variant["former_names"]:
        weights = {former(name): value for name, value in weights.items()}
    save_file(weights, at / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    if not variant["pipeline"]:
        torch.save(weights, at / "diffusion_pytorch_model.bin")

    levels = sigmas_of(scheduler)
    shape = (6, config["in_channels"], config["sample_size"], config["sample_size"])
    timesteps = torch.tensor([0, 1, 250, 640, 998, 999])
    xt = torch.randn(shape)
    # Three steps, two levels between steps (80 is the sampler's first), one below the first step.
    sigma = np.array([levels[0], levels[500], levels[-1], 80.0, 0.5, 0.002])
    if sigma[3] > levels[-1]:
        sigma[3] = 7.0
    x = 0.5 * torch.randn(shape) + torch.tensor(sigma, dtype=torch.float32)[:, None, None, None] * torch.randn(shape)
    x.requires_grad_(True)
    cotangent = torch.randn(shape)
    output = net(xt, timesteps)
    denoised = denoise(net, scheduler["prediction_type"], levels, x, sigma)
    (denoised * cotangent).sum().backward()
    save_file(
        {
            "x_t": xt, "timesteps": timesteps.float(), "output": output.detach(), "sigma": torch.tensor(sigma),
            "x": x.detach(), "denoised": denoised.detach(), "cotangent": cotangent, "x_grad": x.grad,
        },
        folder / "io.safetensors",
    )  # fmt: skip
    golden = {
        "parameters": sum(value.numel() for value in net.parameters()),
        "gradient_norms": {name: float(value.grad.double().norm()) for name, value in net.named_parameters()},
        "sigmas": {str(t): float(levels[t]) for t in (0, 1, 500, 998, 999)},
    }
    write_json(folder / "golden.json", golden)


# The network of diffusers' own fast test of its DDIM pipeline: what the test gives, and the defaults of the class.
PUBLISHED = dict(
    _class_name="UNet2DModel", block_out_channels=[4, 8], down_block_types=["DownBlock2D", "AttnDownBlock2D"], in_channels=3,
    layers_per_block=1, norm_num_groups=4, out_channels=3, sample_size=8, up_block_types=["AttnUpBlock2D", "UpBlock2D"],
)  # fmt: skip
DEFAULTS = dict(
    add_attention=True, attention_head_dim=8, downsample_padding=1, flip_sin_to_cos=True, freq_shift=0,
    mid_block_scale_factor=1, norm_eps=1e-5,
)  # fmt: skip


def draw_in_order(net):
    """PyTorch's starting values, drawn in the order in which diffusers makes the layers: an attention after its block."""

    def draw(part):
        for layer in part.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                layer.reset_parameters()

    draw(net.conv_in)
    draw(net.time_embedding)
    for level in [*net.down_blocks, net.mid_block, *net.up_blocks]:
        for index, resnet in enumerate(level.resnets):
            draw(resnet)
            if level.attentions and index < len(level.attentions):
                draw(level.attentions[index])
        for samplers in (level.downsamplers, level.upsamplers):
            if samplers:
                draw(samplers)
    draw(net.conv_out)


def make_published(folder):
    """Weights and first noise of that test, both from seed 0; the image it expects is public and stands in ddpm-unet.test.ts."""
    net = DdpmUNet({**DEFAULTS, **PUBLISHED})
    torch.manual_seed(0)
    draw_in_order(net)
    write_json(folder / "config.json", PUBLISHED)
    write_json(folder / "scheduler_config.json", {"_class_name": "DDIMScheduler"})
    weights = {name: value.detach().contiguous() for name, value in net.state_dict().items()}
    save_file(weights, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    latents = torch.randn((1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    save_file({"latents": latents}, folder / "io.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_published(Path(sys.argv[1]) / "ddpm-unet-published")
    for seed, (name, variant) in enumerate(VARIANTS.items()):
        make(Path(sys.argv[1]) / name, variant, seed)

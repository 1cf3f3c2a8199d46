"""The networks of EDM in PyTorch, written from their description (SongUNet, DhariwalUNet, EDM and GDD preconditioning).

A test tool: the product needs no Python. State dicts have exactly the published names; module attributes, class names and
recorded constructor arguments are those that published snapshots store. Sources: arXiv 2206.00364, 2006.11239, 2011.13456,
2105.05233, 2405.20750.
"""
import copy
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Recorded(type):
    """Notes the constructor's arguments on each instance, last of its attributes, as persistent classes do."""

    def __call__(cls, *args, **kwargs):
        instance = super().__call__(*args, **kwargs)
        instance._init_args = copy.deepcopy(args)
        instance._init_kwargs = copy.deepcopy(kwargs)
        return instance


# ----------------------------------------------------------------------------------------------------------------------
# Layers. Values come from `randomize` or from a file: constructors leave them at zero.


class Linear(nn.Module, metaclass=Recorded):
    def __init__(self, in_features, out_features, bias=True, **_initialization):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.zeros(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


class Conv2d(nn.Module, metaclass=Recorded):
    """Resampling by a filter, then a convolution; kernel 0 is the resampling alone, `fused_resample` the other order."""

    def __init__(self, in_channels, out_channels, kernel, up=False, down=False, resample_filter=(1, 1), fused_resample=False,
                 **_initialization):  # fmt: skip
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.up = up
        self.down = down
        self.groups = 1
        self.fused_resample = fused_resample
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, kernel, kernel)) if kernel else None
        self.bias = nn.Parameter(torch.zeros(out_channels)) if kernel else None
        taps = torch.as_tensor(resample_filter, dtype=torch.float32)
        outer = torch.outer(taps, taps)[None, None] / taps.sum() ** 2
        self.register_buffer("resample_filter", outer if up or down else None)

    def forward(self, x):
        if self.fused_resample:
            padding = self.weight.shape[-1] // 2 + self._filter_padding()
            x = self._filter_down(F.conv2d(x, self.weight, padding=padding), 0)
            return x + self.bias[:, None, None]
        if self.up:
            kernel = (4 * self.resample_filter).expand(x.shape[1], -1, -1, -1)
            x = F.conv_transpose2d(x, kernel, stride=2, padding=self._filter_padding(), groups=x.shape[1])
        if self.down:
            x = self._filter_down(x, self._filter_padding())
        return x if self.weight is None else F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)

    def _filter_padding(self):
        return (self.resample_filter.shape[-1] - 1) // 2

    def _filter_down(self, x, padding):
        kernel = self.resample_filter.expand(x.shape[1], -1, -1, -1)
        return F.conv2d(x, kernel, stride=2, padding=padding, groups=x.shape[1])


class GroupNorm(nn.Module, metaclass=Recorded):
    def __init__(self, num_channels, eps=1e-5):
        super().__init__()
        self.num_groups = min(32, num_channels // 4)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))

    def forward(self, x):
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class PositionalEmbedding(nn.Module, metaclass=Recorded):
    """[cos, sin] at frequencies (1/10000)^(i/half), or i/(half-1) with `endpoint`."""

    def __init__(self, num_channels, max_positions=10000, endpoint=False):
        super().__init__()
        self.num_channels = num_channels
        self.max_positions = max_positions
        self.endpoint = endpoint

    def forward(self, noise):
        half = self.num_channels // 2
        exponents = torch.arange(half, dtype=torch.float64) / (half - 1 if self.endpoint else half)
        phases = noise[:, None] * ((1 / self.max_positions) ** exponents).to(noise)
        return torch.cat([phases.cos(), phases.sin()], dim=1)


class FourierEmbedding(nn.Module, metaclass=Recorded):
    def __init__(self, num_channels, scale=16):
        super().__init__()
        self.register_buffer("freqs", torch.randn(num_channels // 2) * scale)

    def forward(self, noise):
        phases = noise[:, None] * (2 * math.pi * self.freqs)
        return torch.cat([phases.cos(), phases.sin()], dim=1)


class UNetBlock(nn.Module, metaclass=Recorded):
    def __init__(self, in_channels, out_channels, emb_channels, up=False, down=False, attention=False, num_heads=None,
                 channels_per_head=64, dropout=0, skip_scale=1, eps=1e-5, resample_filter=(1, 1), resample_proj=False,
                 adaptive_scale=True, init={}, init_zero={}, init_attn=None):  # fmt: skip
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.emb_channels = emb_channels
        self.num_heads = (num_heads or out_channels // channels_per_head) if attention else 0
        self.dropout = dropout
        self.skip_scale = skip_scale
        self.adaptive_scale = adaptive_scale
        resampling = dict(up=up, down=down, resample_filter=resample_filter)
        self.norm0 = GroupNorm(num_channels=in_channels, eps=eps)
        self.conv0 = Conv2d(in_channels=in_channels, out_channels=out_channels, kernel=3, **resampling, **init)
        self.affine = Linear(in_features=emb_channels, out_features=out_channels * (2 if adaptive_scale else 1), **init)
        self.norm1 = GroupNorm(num_channels=out_channels, eps=eps)
        self.conv1 = Conv2d(in_channels=out_channels, out_channels=out_channels, kernel=3, **init_zero)
        self.skip = None
        if in_channels != out_channels or up or down:
            kernel = 1 if in_channels != out_channels or resample_proj else 0
            self.skip = Conv2d(in_channels=in_channels, out_channels=out_channels, kernel=kernel, **resampling, **init)
        if self.num_heads:
            self.norm2 = GroupNorm(num_channels=out_channels, eps=eps)
            self.qkv = Conv2d(in_channels=out_channels, out_channels=3 * out_channels, kernel=1, **(init_attn or init))
            self.proj = Conv2d(in_channels=out_channels, out_channels=out_channels, kernel=1, **init_zero)

    def forward(self, x, embedding):
        y = self.conv0(F.silu(self.norm0(x)))
        modulation = self.affine(embedding)[:, :, None, None]
        if self.adaptive_scale:
            scale, shift = modulation.chunk(2, dim=1)
            y = F.silu(shift + self.norm1(y) * (scale + 1))
        else:
            y = F.silu(self.norm1(y + modulation))
        y = self.conv1(F.dropout(y, self.dropout, self.training))
        y = (y + (x if self.skip is None else self.skip(x))) * float(self.skip_scale)
        if self.num_heads:
            y = (y + self.proj(self._attend(self.qkv(self.norm2(y))))) * float(self.skip_scale)
        return y

    def _attend(self, qkv):
        batch, channels, height, width = qkv.shape
        # The channel index is (head, c, {q, k, v}).
        parts = qkv.reshape(batch, self.num_heads, channels // 3 // self.num_heads, 3, height * width)
        q, k, v = parts.unbind(3)
        weights = (q.transpose(2, 3) @ (k / math.sqrt(k.shape[2]))).softmax(dim=3)
        return (v @ weights.transpose(2, 3)).reshape(batch, channels // 3, height, width)


# ----------------------------------------------------------------------------------------------------------------------
# Networks


class SongUNet(nn.Module, metaclass=Recorded):
    """DDPM++ (positional, standard, filter 1,1) and NCSN++ (fourier, residual, filter 1,3,3,1)."""

    def __init__(self, img_resolution, in_channels, out_channels, label_dim=0, augment_dim=0, model_channels=128,
                 channel_mult=(1, 2, 2, 2), channel_mult_emb=4, num_blocks=4, attn_resolutions=(16,), dropout=0.10,
                 label_dropout=0, embedding_type="positional", channel_mult_noise=1, encoder_type="standard",
                 decoder_type="standard", resample_filter=(1, 1)):  # fmt: skip
        super().__init__()
        self.label_dropout = label_dropout
        self.augment_dim = augment_dim
        init = dict(init_mode="xavier_uniform")
        init_zero = dict(init_mode="xavier_uniform", init_weight=1e-5)
        init_attn = dict(init_mode="xavier_uniform", init_weight=np.sqrt(0.2))
        noise_channels = model_channels * channel_mult_noise
        emb_channels = model_channels * channel_mult_emb
        if embedding_type == "positional":
            self.map_noise = PositionalEmbedding(num_channels=noise_channels, endpoint=True)
        else:
            self.map_noise = FourierEmbedding(num_channels=noise_channels)
        self.map_label = Linear(in_features=label_dim, out_features=noise_channels, **init) if label_dim else None
        self.map_augment = Linear(in_features=augment_dim, out_features=noise_channels, bias=False, **init) if augment_dim else None
        self.map_layer0 = Linear(in_features=noise_channels, out_features=emb_channels, **init)
        self.map_layer1 = Linear(in_features=emb_channels, out_features=emb_channels, **init)

        filtered = dict(resample_filter=resample_filter)
        block = dict(emb_channels=emb_channels, num_heads=1, dropout=dropout, skip_scale=np.sqrt(0.5), eps=1e-6, **filtered,
                     resample_proj=True, adaptive_scale=False, init=init, init_zero=init_zero, init_attn=init_attn)  # fmt: skip
        levels = [(f"{img_resolution >> level}x{img_resolution >> level}", img_resolution >> level, multiplier * model_channels)
                  for level, multiplier in enumerate(channel_mult)]  # fmt: skip

        self.enc = nn.ModuleDict()
        skips = []
        channels, aux_channels = in_channels, in_channels
        for level, (at, resolution, width) in enumerate(levels):
            if level == 0:
                channels = model_channels
                self.enc[f"{at}_conv"] = Conv2d(in_channels=in_channels, out_channels=channels, kernel=3, **init)
            else:
                self.enc[f"{at}_down"] = UNetBlock(in_channels=channels, out_channels=channels, down=True, **block)
                if encoder_type == "skip":
                    self.enc[f"{at}_aux_down"] = Conv2d(in_channels=aux_channels, out_channels=aux_channels, kernel=0, down=True, **filtered)
                    self.enc[f"{at}_aux_skip"] = Conv2d(in_channels=aux_channels, out_channels=channels, kernel=1, **init)
                if encoder_type == "residual":
                    self.enc[f"{at}_aux_residual"] = Conv2d(
                        in_channels=aux_channels, out_channels=channels, kernel=3, down=True, fused_resample=True, **filtered, **init
                    )
                    aux_channels = channels
            skips.append(channels)
            for index in range(num_blocks):
                self.enc[f"{at}_block{index}"] = UNetBlock(
                    in_channels=channels, out_channels=width, attention=resolution in attn_resolutions, **block
                )
                channels = width
                skips.append(channels)

        self.dec = nn.ModuleDict()
        for level, (at, resolution, width) in reversed(list(enumerate(levels))):
            lowest = level == len(levels) - 1
            if lowest:
                self.dec[f"{at}_in0"] = UNetBlock(in_channels=channels, out_channels=channels, attention=True, **block)
                self.dec[f"{at}_in1"] = UNetBlock(in_channels=channels, out_channels=channels, **block)
            else:
                self.dec[f"{at}_up"] = UNetBlock(in_channels=channels, out_channels=channels, up=True, **block)
            for index in range(num_blocks + 1):
                attention = index == num_blocks and resolution in attn_resolutions
                self.dec[f"{at}_block{index}"] = UNetBlock(
                    in_channels=channels + skips.pop(), out_channels=width, attention=attention, **block
                )
                channels = width
            if decoder_type == "skip" or level == 0:
                if decoder_type == "skip" and not lowest:
                    self.dec[f"{at}_aux_up"] = Conv2d(in_channels=out_channels, out_channels=out_channels, kernel=0, up=True, **filtered)
                self.dec[f"{at}_aux_norm"] = GroupNorm(num_channels=channels, eps=1e-6)
                self.dec[f"{at}_aux_conv"] = Conv2d(in_channels=channels, out_channels=out_channels, kernel=3, **init_zero)

    def embed(self, noise, class_labels=None, augment_labels=None):
        # [sin, cos]: the embeddings above have the cosine first.
        embedding = self.map_noise(noise)
        embedding = torch.cat(embedding.chunk(2, dim=1)[::-1], dim=1)
        if self.map_label is not None:
            embedding = embedding + self.map_label(class_labels * math.sqrt(self.map_label.in_features))
        if self.map_augment is not None and augment_labels is not None:
            embedding = embedding + self.map_augment(augment_labels)
        return F.silu(self.map_layer1(F.silu(self.map_layer0(embedding))))

    def encode(self, x, embedding):
        """What the decoder is given, one tensor a convolution or block."""
        skips = []
        aux = x
        for name, layer in self.enc.items():
            if name.endswith("_aux_down"):
                aux = layer(aux)
            elif name.endswith("_aux_skip"):
                x = skips[-1] = x + layer(aux)
            elif name.endswith("_aux_residual"):
                x = skips[-1] = aux = (x + layer(aux)) / math.sqrt(2)
            else:
                x = layer(x, embedding) if isinstance(layer, UNetBlock) else layer(x)
                skips.append(x)
        return skips

    def forward(self, x, noise, class_labels=None, augment_labels=None):
        embedding = self.embed(noise, class_labels, augment_labels)
        skips = self.encode(x, embedding)
        x = skips[-1]

        output = None
        for name, layer in self.dec.items():
            if name.endswith("_aux_up"):
                output = layer(output)
            elif name.endswith("_aux_norm"):
                normal = F.silu(layer(x))
            elif name.endswith("_aux_conv"):
                output = layer(normal) if output is None else output + layer(normal)
            else:
                x = layer(torch.cat([x, skips.pop()], dim=1) if "_block" in name else x, embedding)
        return output


class DhariwalUNet(nn.Module, metaclass=Recorded):
    """ADM."""

    def __init__(self, img_resolution, in_channels, out_channels, label_dim=0, augment_dim=0, model_channels=192,
                 channel_mult=(1, 2, 3, 4), channel_mult_emb=4, num_blocks=3, attn_resolutions=(32, 16, 8), dropout=0.10,
                 label_dropout=0):  # fmt: skip
        super().__init__()
        self.label_dropout = label_dropout
        init = dict(init_mode="kaiming_uniform", init_weight=np.sqrt(1 / 3), init_bias=np.sqrt(1 / 3))
        init_zero = dict(init_mode="kaiming_uniform", init_weight=0, init_bias=0)
        emb_channels = model_channels * channel_mult_emb
        self.map_noise = PositionalEmbedding(num_channels=model_channels)
        self.map_augment = Linear(in_features=augment_dim, out_features=model_channels, bias=False, **init_zero) if augment_dim else None
        self.map_layer0 = Linear(in_features=model_channels, out_features=emb_channels, **init)
        self.map_layer1 = Linear(in_features=emb_channels, out_features=emb_channels, **init)
        init_label = dict(init_mode="kaiming_normal", init_weight=np.sqrt(label_dim))
        self.map_label = Linear(in_features=label_dim, out_features=emb_channels, bias=False, **init_label) if label_dim else None

        block = dict(emb_channels=emb_channels, channels_per_head=64, dropout=dropout, init=init, init_zero=init_zero)
        levels = [(f"{img_resolution >> level}x{img_resolution >> level}", img_resolution >> level, multiplier * model_channels)
                  for level, multiplier in enumerate(channel_mult)]  # fmt: skip
        self.enc = nn.ModuleDict()
        skips = []
        channels = in_channels
        for level, (at, resolution, width) in enumerate(levels):
            if level == 0:
                channels = width
                self.enc[f"{at}_conv"] = Conv2d(in_channels=in_channels, out_channels=channels, kernel=3, **init)
            else:
                self.enc[f"{at}_down"] = UNetBlock(in_channels=channels, out_channels=channels, down=True, **block)
            skips.append(channels)
            for index in range(num_blocks):
                self.enc[f"{at}_block{index}"] = UNetBlock(
                    in_channels=channels, out_channels=width, attention=resolution in attn_resolutions, **block
                )
                channels = width
                skips.append(channels)

        self.dec = nn.ModuleDict()
        for level, (at, resolution, width) in reversed(list(enumerate(levels))):
            if level == len(levels) - 1:
                self.dec[f"{at}_in0"] = UNetBlock(in_channels=channels, out_channels=channels, attention=True, **block)
                self.dec[f"{at}_in1"] = UNetBlock(in_channels=channels, out_channels=channels, **block)
            else:
                self.dec[f"{at}_up"] = UNetBlock(in_channels=channels, out_channels=channels, up=True, **block)
            for index in range(num_blocks + 1):
                self.dec[f"{at}_block{index}"] = UNetBlock(
                    in_channels=channels + skips.pop(), out_channels=width, attention=resolution in attn_resolutions, **block
                )
                channels = width
        self.out_norm = GroupNorm(num_channels=channels)
        self.out_conv = Conv2d(in_channels=channels, out_channels=out_channels, kernel=3, **init_zero)

    def forward(self, x, noise, class_labels=None, augment_labels=None):
        embedding = self.map_noise(noise)
        if self.map_augment is not None and augment_labels is not None:
            embedding = embedding + self.map_augment(augment_labels)
        embedding = self.map_layer1(F.silu(self.map_layer0(embedding)))
        if self.map_label is not None:
            embedding = embedding + self.map_label(class_labels)
        embedding = F.silu(embedding)
        skips = []
        for layer in self.enc.values():
            x = layer(x, embedding) if isinstance(layer, UNetBlock) else layer(x)
            skips.append(x)
        for name, layer in self.dec.items():
            x = layer(torch.cat([x, skips.pop()], dim=1) if "_block" in name else x, embedding)
        return self.out_conv(F.silu(self.out_norm(x)))


# ----------------------------------------------------------------------------------------------------------------------
# Preconditioning

SIGMA_MAX = 80
SIGMA_MIN = 0.002


class EDMPrecond(nn.Module, metaclass=Recorded):
    """D(x, sigma) = c_skip x + c_out F(c_in x, ln(sigma)/4, labels)."""

    def __init__(self, img_resolution, img_channels, label_dim=0, use_fp16=False, sigma_min=0, sigma_max=float("inf"),
                 sigma_data=0.5, model_type="DhariwalUNet", **model_kwargs):  # fmt: skip
        super().__init__()
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        self.label_dim = label_dim
        self.use_fp16 = use_fp16
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.sigma_data = sigma_data
        architecture = {"SongUNet": SongUNet, "DhariwalUNet": DhariwalUNet}[model_type]
        self.model = architecture(
            img_resolution=img_resolution, in_channels=img_channels, out_channels=img_channels, label_dim=label_dim, **model_kwargs
        )

    def forward(self, x, sigma, class_labels=None, augment_labels=None, epsilon=0.0):
        """`epsilon` 0.002 gives GDD's preconditioning: the identity at that noise level."""
        sigma = sigma.to(torch.float64).reshape(-1, 1, 1, 1).expand(len(x), 1, 1, 1)
        data = self.sigma_data
        norm = (sigma**2 + data**2).sqrt()
        c_skip = data**2 / ((sigma - epsilon) ** 2 + data**2)
        c_out = (sigma - epsilon) * data / norm
        noise = (sigma.log() / 4).flatten()
        if class_labels is None and self.label_dim:
            class_labels = torch.zeros(len(x), self.label_dim)
        c_skip, c_out, c_in, noise = (value.to(x) for value in (c_skip, c_out, 1 / norm, noise))
        return c_skip * x + c_out * self.model(c_in * x, noise, class_labels, augment_labels)

    def one_step(self, latents, class_labels=None):
        """G(z) = D_gdd(80 z, 80)."""
        return self(latents * SIGMA_MAX, torch.tensor([float(SIGMA_MAX)]), class_labels, epsilon=SIGMA_MIN)


_NCSNPP = dict(model_type="SongUNet", embedding_type="fourier", encoder_type="residual", decoder_type="standard",
               channel_mult_noise=2, resample_filter=[1, 3, 3, 1], model_channels=128, augment_dim=9)  # fmt: skip
_DDPMPP = dict(model_type="SongUNet", embedding_type="positional", encoder_type="standard", decoder_type="standard",
               channel_mult_noise=1, resample_filter=[1, 1], model_channels=128, augment_dim=9)  # fmt: skip
_CIFAR10 = dict(img_resolution=32, img_channels=3, channel_mult=[2, 2, 2], dropout=0.13)

# The architectures of the published teachers, as their snapshots say.
PUBLISHED = {
    "cifar10-ncsnpp-uncond": dict(label_dim=0, **_CIFAR10, **_NCSNPP),
    "cifar10-ncsnpp-cond": dict(label_dim=10, **_CIFAR10, **_NCSNPP),
    "cifar10-ddpmpp-uncond": dict(label_dim=0, **_CIFAR10, **_DDPMPP),
    "ffhq64-ncsnpp": dict(img_resolution=64, img_channels=3, label_dim=0, channel_mult=[1, 2, 2, 2], dropout=0.05, **_NCSNPP),
    "imagenet64-adm": dict(img_resolution=64, img_channels=3, label_dim=1000, model_type="DhariwalUNet", model_channels=192,
                           channel_mult=[1, 2, 3, 4]),  # fmt: skip
}


def randomize(network, seed=0):
    """Gives every parameter random values, also those that start at zero, so that every layer shows in the output."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            # The second convolution of a block adds to a sum over the depth of the network.
            gain = 0.5 if name.endswith(("conv1.weight", "proj.weight")) else 1
            values *= gain / math.sqrt(parameter[0].numel())
        else:
            values = 1 + 0.1 * values if "norm" in name and name.endswith("weight") else 0.1 * values
        parameter.data.copy_(values)
    for name, buffer in network.named_buffers():
        if name.endswith("freqs"):
            buffer.copy_(16 * torch.randn(buffer.shape, generator=generator))
    return network.eval().requires_grad_(True)

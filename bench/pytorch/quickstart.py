"""The quickstart's network: training, sampling, and GDD-I with heads on its own encoder."""
import torch
from torch import nn

from adversarial import Steps, head
from steps import SIGMA_DATA, edm_step, heun, network, one_step

CONFIG = dict(img_resolution=16, img_channels=3, label_dim=0, model_type="SongUNet", embedding_type="fourier", encoder_type="residual",
              decoder_type="standard", channel_mult_noise=2, resample_filter=[1, 3, 3, 1], model_channels=32, channel_mult=[1, 2],
              num_blocks=2, attn_resolutions=[8])  # fmt: skip
SIGMAS = [0.1, 0.5, 2.0]
# The last block of each resolution: its place among what the encoder gives, channels, widths of the head.
STAGES = [(2, 32, [32, 32]), (5, 64, [64])]


def encoder_steps(settings):
    """Each noise level judges its part of the batch."""
    teacher = network(settings, CONFIG).requires_grad_(False)
    heads = settings.place(nn.ModuleList([nn.ModuleList([head(c, widths) for _, c, widths in STAGES]) for _ in SIGMAS]))
    bounds = [round(i * settings.batch / len(SIGMAS)) for i in range(len(SIGMAS) + 1)]
    parts = list(zip(bounds, bounds[1:]))
    sigma = torch.cat([torch.full([end - start], level) for level, (start, end) in zip(SIGMAS, parts)])
    s = sigma.reshape(-1, 1, 1, 1)

    def maps(images):
        noisy = (images + s * torch.randn_like(images)) / (s**2 + SIGMA_DATA**2).sqrt()
        skips = teacher.model.encode(noisy, teacher.model.embed(sigma.log() / 4))
        return [skips[place] for place, _, _ in STAGES]

    def judge(maps):
        # A head sees only its own part.
        return [torch.cat([torch.cat([h(m[start:end]) for h, m in zip(own, maps)], 1) for own, (start, end) in zip(heads, parts)])]

    return Steps(settings, network(settings, CONFIG), heads, maps, judge)


def prepare(settings):
    step = settings.job.removeprefix("quickstart-")
    if step in ("gdd", "r1"):
        steps = encoder_steps(settings)
        return (steps.iteration if step == "gdd" else steps.r1_step), steps.trained
    return {"edm": edm_step, "one-step": one_step, "heun": heun}[step](settings, network(settings, CONFIG))

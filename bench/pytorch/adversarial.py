"""Heads, losses and steps of a distributional distillation, for any function that gives the logits of images."""
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from steps import Ema, adam, images_of, size, update_with


def head(channels, widths):
    """Halves the image at every width; then one logit a place of the last four by four."""
    layers = []
    for width in widths:
        layers += [spectral_norm(nn.Conv2d(channels, width, 4, 2, 1)), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
        channels = width
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(channels, 1, 4, bias=False)), nn.Flatten())


def freeze_convolutions(network):
    """GDD-I's rule: convolutions of 3x3 in blocks and attention's projection stay as they are."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not any(part in name for part in (".conv0.", ".conv1.", ".proj.")))


class Steps:
    """`maps(images)` are what `judge(maps)` makes lists of logits from; `heads` is what is trained of both."""

    def __init__(self, settings, generator, heads, maps, judge):
        freeze_convolutions(generator)
        self.settings, self.generator, self.heads = settings, generator, heads
        self.real, self.ema, self.update = images_of(settings, generator), Ema(generator), update_with(settings)
        self.trained = [size(generator.parameters()), size(heads.parameters())]
        self.adam_g = adam(generator.parameters(), betas=(0.0, 0.99))
        self.adam_d = adam(heads.parameters(), betas=(0.0, 0.99))

        def generator_loss(latents):
            lists = judge(maps(generator.one_step(latents)))
            return sum(F.softplus(-logits).mean() for logits in lists) / len(lists)

        def discriminator_loss(latents, real):
            with torch.no_grad():
                fake, real = maps(generator.one_step(latents)), maps(real)
            pairs = list(zip(judge(fake), judge(real)))
            return sum((F.softplus(f) + F.softplus(-r)).mean() for f, r in pairs) / len(pairs)

        def score(real):
            return sum(logits.sum() for logits in judge(maps(real)))

        self.generator_loss = settings.compile(generator_loss)
        self.discriminator_loss = settings.compile(discriminator_loss)
        self.score = settings.compile(score)

    def generator_step(self):
        self.heads.requires_grad_(False)
        self.update(self.adam_g, self.generator_loss(self.settings.noise(self.real.shape)))

    def discriminator_step(self):
        self.heads.requires_grad_(True)
        self.update(self.adam_d, self.discriminator_loss(self.settings.noise(self.real.shape), self.real))

    def r1_step(self):
        self.heads.requires_grad_(True)
        real = self.real.clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.score(real), real, create_graph=True)
        self.update(self.adam_d, slope.square().sum([1, 2, 3]).mean() * (1e-4 / 2 * 16))

    def iteration(self):
        self.generator_step()
        self.discriminator_step()
        self.ema.update()

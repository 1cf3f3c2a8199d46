"""Steps that several jobs share: the EDM training step, sampling, and what follows every backward pass."""
import copy

import torch
from edm_networks import EDMPrecond, randomize

SIGMA_DATA = 0.5


def network(settings, config):
    made = randomize(EDMPrecond(**{**config, "augment_dim": 0}))
    for module in made.modules():
        # Recorded as NumPy's, which torch.compile would make a tensor of.
        if hasattr(module, "skip_scale"):
            module.skip_scale = float(module.skip_scale)
    return settings.place(made)


def size(parameters):
    return sum(p.numel() for p in parameters if p.requires_grad)


def adam(parameters, **options):
    return torch.optim.Adam([p for p in parameters if p.requires_grad], lr=1e-4, fused=True, **options)


def sanitize_with(settings):
    """Gradients without NaN and infinity, in place."""

    def sanitize(gradients):
        for gradient in gradients:
            torch.nan_to_num(gradient, nan=0, posinf=1e5, neginf=-1e5, out=gradient)

    return settings.compile(sanitize)


def update_with(settings):
    """Backward, the NaN rule, Adam."""
    sanitize = sanitize_with(settings)

    def update(optimizer, loss):
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            sanitize([p.grad for group in optimizer.param_groups for p in group["params"]])
        optimizer.step()
        return loss.item()

    return update


class Ema:
    def __init__(self, network):
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.pairs = [(a, p) for a, p in zip(self.average.parameters(), network.parameters()) if p.requires_grad]

    @torch.no_grad()
    def update(self, decay=0.999):
        torch._foreach_lerp_([a for a, _ in self.pairs], [p for _, p in self.pairs], 1 - decay)


def images_of(settings, network):
    size = network.img_resolution
    return settings.place(torch.rand(settings.batch, 3, size, size) * 2 - 1)


def edm_step(settings, network):
    """Loss, gradients, Adam, EMA."""
    images = images_of(settings, network)
    optimizer, ema, update = adam(network.parameters()), Ema(network), update_with(settings)

    def loss_of(noise, sigma):
        weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
        denoised = network(images + noise * sigma.reshape(-1, 1, 1, 1), sigma)
        return (weight * (denoised - images).square().mean([1, 2, 3])).mean()

    loss = settings.compile(loss_of)

    def run():
        sigma = (torch.randn(settings.batch) * 1.2 - 1.2).exp()
        update(optimizer, loss(settings.noise(images.shape), sigma))
        ema.update()

    return run, [size(network.parameters())]


def one_step(settings, network):
    network.requires_grad_(False)
    labels = torch.eye(network.label_dim)[: settings.batch] if network.label_dim else None
    shape = images_of(settings, network).shape
    generate = settings.compile(network.one_step)

    def run():
        with torch.inference_mode():
            return generate(settings.noise(shape), labels)

    return run, []


def heun(settings, network, steps=18, low=0.002, high=80, rho=7):
    """EDM's deterministic sampler: 2 steps - 1 evaluations, its state in float64."""
    network.requires_grad_(False)
    shape = images_of(settings, network).shape
    grid = torch.arange(steps, dtype=torch.float64) / (steps - 1)
    sigmas = [*((high ** (1 / rho) + grid * (low ** (1 / rho) - high ** (1 / rho))) ** rho).unbind(), torch.zeros((), dtype=torch.float64)]
    denoise = settings.compile(lambda x, sigma: network(x.float(), sigma.float()).double())

    def run():
        with torch.inference_mode():
            x = settings.noise(shape).double() * sigmas[0]
            for sigma, following in zip(sigmas, sigmas[1:]):
                slope = (x - denoise(x, sigma)) / sigma
                euler = x + (following - sigma) * slope
                if following > 0:
                    corrected = (euler - denoise(euler, following)) / following
                    x = x + (following - sigma) * (slope + corrected) / 2
                else:
                    x = euler
            return x.float()

    return run, []

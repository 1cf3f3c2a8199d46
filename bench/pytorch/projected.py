"""The CIFAR-10 recipe: NCSN++ of full size, VGG16-BN and EfficientNet-lite0 of torchvision and timm at 224 px."""
import torch
import torch.nn.functional as F
from edm_networks import PUBLISHED
from make_feature_goldens import create
from torch import nn

from adversarial import Steps, head
from steps import network

WIDTHS = {64: 64, 32: 128, 16: 256, 8: 512}


class Features(nn.Module):
    """The stages of a frozen network at 224 px, mixed at random."""

    def __init__(self, name):
        super().__init__()
        self.network, (mean, std) = create(name)
        self.mean, self.std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (mean, std))
        with torch.no_grad():
            channels = [m.shape[1] for m in self.stages(torch.zeros(1, 3, 32, 32))]
        widths = [64, 128, 256, 512]
        self.outputs = [64, 64, 128, 256]
        self.channel = nn.ModuleList([nn.Conv2d(c, w, 1) for c, w in zip(channels, widths)])
        self.scale = nn.ModuleList([nn.Conv2d(w, o, 1) for w, o in zip(widths, self.outputs)])

    def stages(self, x):
        x = F.interpolate(x, 224, mode="bilinear", align_corners=False)
        return self.network(((x + 1) / 2 - self.mean) / self.std)

    def forward(self, x):
        mixed, coarser = [], None
        for stage, mix, scale in reversed(list(zip(self.stages(x), self.channel, self.scale))):
            own = mix(stage)
            y = own if coarser is None else own + coarser
            # As ours: convolving before interpolating costs a quarter and is the same.
            coarser = F.interpolate(scale(y), scale_factor=2, mode="bilinear", align_corners=True)
            mixed.insert(0, coarser)
        return mixed


def prepare(settings):
    features = [settings.place(Features(name).requires_grad_(False)) for name in ("vgg16_bn", "tf_efficientnet_lite0")]
    heads = nn.ModuleList(
        [
            nn.ModuleList([head(c, [w for size, w in WIDTHS.items() if size < 128 >> i]) for i, c in enumerate(f.outputs)])
            for f in features
        ]
    )
    settings.place(heads)

    def maps(images):
        return [f(images) for f in features]

    def judge(maps):
        return [torch.cat([h(m) for h, m in zip(own, maps_)], 1) for own, maps_ in zip(heads, maps)]

    steps = Steps(settings, network(settings, PUBLISHED["cifar10-ncsnpp-uncond"]), heads, maps, judge)
    return getattr(steps, settings.job.removeprefix("projected-") + "_step"), steps.trained

"""The published architectures at full size, without dropout and augmentation."""
from edm_networks import PUBLISHED
from steps import edm_step, network, one_step

NETWORKS = {"cifar10": "cifar10-ncsnpp-uncond", "imagenet64": "imagenet64-adm"}
STEPS = {"edm": edm_step, "one-step": one_step}


def prepare(settings):
    name, step = settings.job.split("-", 1)
    return STEPS[step](settings, network(settings, PUBLISHED[NETWORKS[name]]))

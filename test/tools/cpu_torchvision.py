"""Lets torchvision, and timm which needs it, be imported beside a PyTorch that was built without what torchvision's
compiled operators link to: describing those fails, and their descriptions are then left out. Networks use none of them."""
import torch.library

_describe = torch.library.register_fake


def _describe_if_present(name, *arguments, **options):
    register = _describe(name, *arguments, **options)

    def decorate(function):
        try:
            return register(function)
        except RuntimeError:
            return function

    return decorate


torch.library.register_fake = _describe_if_present
try:
    import torchvision  # noqa: F401
finally:
    torch.library.register_fake = _describe

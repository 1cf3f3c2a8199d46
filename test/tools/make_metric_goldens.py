"""Features of two sets, class probabilities, and what SciPy, scikit-learn and torchmetrics make of them.

    python make_metric_goldens.py OUT

Writes OUT/metrics.npz (generated [300, 24], reference [260, 24], probabilities [300, 10], float32), OUT/metrics.json (values by name) and
OUT/edm2.pkl (mu and sigma of the reference as EDM2's reference files hold them). Always the same for one NumPy.
Needs numpy, scipy, scikit-learn, torch and torchmetrics.
"""
import json
import pathlib
import pickle
import sys

import cpu_torchvision  # noqa: F401  before torchmetrics, which imports torchvision where it is there
import numpy
import scipy.linalg
import torch
from sklearn.metrics.pairwise import euclidean_distances, polynomial_kernel
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import poly_mmd

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
random = numpy.random.default_rng(5)
mixing = random.normal(size=(24, 24)) * numpy.arange(1, 25) ** -0.7


def features(count, shift):
    # Not negative and correlated, as pooled features are.
    return numpy.maximum(0, random.normal(size=(count, 24)) @ mixing.T + shift).astype(numpy.float32)


generated, reference = features(300, 0.7), features(260, 0.5)
logits = random.normal(size=(300, 10)) * 2
probabilities = torch.from_numpy(logits).softmax(1).numpy().astype(numpy.float32)
numpy.savez(out / "metrics.npz", generated=generated, reference=reference, probabilities=probabilities)


def gaussian(rows):
    rows = rows.astype(numpy.float64)
    return rows.mean(0), numpy.cov(rows, rowvar=False)


def frechet(x, y, trace_of_root):
    (mu_x, a), (mu_y, b) = gaussian(x), gaussian(y)
    return numpy.sum((mu_x - mu_y) ** 2) + numpy.trace(a) + numpy.trace(b) - 2 * trace_of_root(a, b)


def by_sqrtm(a, b):
    return numpy.trace(scipy.linalg.sqrtm(a @ b)).real


# scipy.linalg.sqrtm of a singular product takes roots of rounding error. With centred rows X and Y, A = XᵀX / (n - 1) and B = YᵀY / (m - 1),
# the trace of (A B)^(1/2) is the sum of the singular values of X Yᵀ / sqrt((n - 1) (m - 1)): no covariance, no root.
def frechet_of_few(x, y):
    x, y = x.astype(numpy.float64), y.astype(numpy.float64)
    scaled = [(rows - rows.mean(0)) / numpy.sqrt(len(rows) - 1) for rows in (x, y)]
    root = scipy.linalg.svdvals(scaled[0] @ scaled[1].T).sum()
    return numpy.sum((x.mean(0) - y.mean(0)) ** 2) + sum((rows**2).sum() for rows in scaled) - 2 * root


def manifold(rows, neighbours):
    distances = euclidean_distances(rows)
    return numpy.sort(distances, axis=1)[:, neighbours]


x, y = generated.astype(numpy.float64), reference.astype(numpy.float64)
across = euclidean_distances(y, x)
radii_of_real, radii_of_generated = manifold(y, 3), manifold(x, 3)
radii_of_five = manifold(y, 5)
inside = across < radii_of_five[:, None]

n, m = len(x), len(y)
kernels = [polynomial_kernel(*pair, degree=3, gamma=1 / 24, coef0=1) for pair in [(x, x), (y, y), (x, y)]]
within = lambda k: (k.sum() - numpy.trace(k)) / (len(k) * (len(k) - 1))

# torchmetrics shuffles the images before it cuts them into splits.
torch.randperm = torch.arange
score = InceptionScore(feature=torch.nn.Identity(), splits=10)
score.update(torch.from_numpy(numpy.log(probabilities.astype(numpy.float64))))
mean, deviation = score.compute()

values = {
    "frechet": frechet(generated, reference, by_sqrtm),
    "frechetSingular": frechet_of_few(generated[:15], reference[:20]),
    "kernelDistance": within(kernels[0]) + within(kernels[1]) - 2 * kernels[2].mean(),
    # torchmetrics' own estimate, for sets of one size.
    "kernelDistanceOfEqualSizes": float(
        poly_mmd(torch.from_numpy(x[:260]), torch.from_numpy(y), degree=3, gamma=1 / 24, coef=1)
    ),
    "inceptionScore": float(mean),
    # torchmetrics divides by splits - 1, the authors' code by splits.
    "inceptionScoreSpread": float(deviation) * (9 / 10) ** 0.5,
    "precision": (across <= radii_of_real[:, None]).any(0).mean(),
    "recall": (across <= radii_of_generated[None]).any(1).mean(),
    "density": inside.sum(0).mean() / 5,
    "coverage": (across.min(1) < radii_of_five).mean(),
}
(out / "metrics.json").write_text(json.dumps({name: float(value) for name, value in values.items()}, indent=2) + "\n")
mu, sigma = gaussian(reference)
(out / "edm2.pkl").write_bytes(pickle.dumps({"fid": {"mu": mu, "sigma": sigma}, "fd_dinov2": {"mu": mu[:2], "sigma": sigma[:2, :2].copy()}}))

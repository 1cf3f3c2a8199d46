"""Sets of features that are hard on metrics, and what each metric is of them by its definition; images and their radial spectra by NumPy's FFT.

    python test/tools/make_metric_cases.py OUT [--seed 0]

Writes OUT/cases.npz (`CASE.generated` and `CASE.reference` [N, D], `CASE.probabilities` [N, classes], `SIZE.images` [B, H, W, C]; float32)
and OUT/cases.json: {"sets": {CASE: {options and values}}, "spectra": {SIZE: {frequencies, power}}}. Needs numpy, scipy and mpmath.
`frechet` is computed with 40 digits, `frechetScipy` by scipy.linalg.sqrtm, null where that is not finite.
"""
import argparse
import json
import pathlib
import warnings

import mpmath
import numpy
import scipy.linalg
from scipy.spatial.distance import cdist

mpmath.mp.dps = 40


def frechet(x, y):
    """|mu_x - mu_y|^2 + tr A + tr B - 2 tr (A B)^(1/2) in 40 digits: of centred rows the root's trace is the sum of the singular values of X Y^T."""

    def centred(rows):
        count, size = rows.shape
        matrix = mpmath.matrix(rows.tolist())
        mean = [mpmath.fsum(matrix[i, k] for i in range(count)) / count for k in range(size)]
        scale = mpmath.sqrt(count - 1)
        return mean, mpmath.matrix([[(matrix[i, k] - mean[k]) / scale for k in range(size)] for i in range(count)])

    def square(matrix):
        return mpmath.fsum(value**2 for value in matrix)

    (mu_x, a), (mu_y, b) = centred(x), centred(y)
    root = mpmath.fsum(mpmath.svd_r(a * b.T, compute_uv=False))
    return float(mpmath.fsum((p - q) ** 2 for p, q in zip(mu_x, mu_y)) + square(a) + square(b) - 2 * root)


def frechet_by_scipy(x, y):
    x, y = x.astype(numpy.float64), y.astype(numpy.float64)
    a, b = (numpy.cov(rows, rowvar=False).reshape(rows.shape[1], -1) for rows in (x, y))
    with warnings.catch_warnings(), numpy.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        root = scipy.linalg.sqrtm(a @ b)
    value = numpy.sum((x.mean(0) - y.mean(0)) ** 2) + numpy.trace(a) + numpy.trace(b) - 2 * numpy.trace(root).real
    return float(value) if numpy.isfinite(value) else None


def kernel_distance(x, y):
    """Binkowski et al. (2018), equation 4, for k(a, b) = (a.b / D + 1)^3, pair by pair in long double."""
    x, y = x.astype(numpy.longdouble), y.astype(numpy.longdouble)
    n, m = len(x), len(y)

    def kernel(a, b):
        return (a[:, None] * b[None]).sum(2) / x.shape[1] + 1

    within = sum(
        (numpy.sum(kernel(s, s) ** 3) - numpy.sum(numpy.diag(kernel(s, s)) ** 3)) / (len(s) * (len(s) - 1)) for s in (x, y)
    )
    return float(within - 2 * numpy.sum(kernel(x, y) ** 3) / (n * m))


def inception_score(p, splits):
    """Salimans et al. (2016): mean and standard deviation over splits of exp of the mean divergence from the split's marginal."""
    p = p.astype(numpy.float64)
    scores = []
    for i in range(splits):
        part = p[i * len(p) // splits : (i + 1) * len(p) // splits]
        ratio = numpy.divide(part, part.mean(0), out=numpy.ones_like(part), where=part > 0)
        scores.append(numpy.exp((part * numpy.log(ratio)).sum(1).mean()))
    return float(numpy.mean(scores)), float(numpy.std(scores))


def manifolds(fake, real, k):
    """Kynkaanniemi et al. (2019), equation 1 (balls with their surface); Naeem et al. (2020), equations 3 and 4 (without)."""
    fake, real = fake.astype(numpy.float64), real.astype(numpy.float64)

    def radii(rows):
        return numpy.sort(cdist(rows, rows), 1)[:, k]

    across = cdist(real, fake)
    inside = across < radii(real)[:, None]
    return {
        "precision": (across <= radii(real)[:, None]).any(0).mean(),
        "recall": (across <= radii(fake)[None]).any(1).mean(),
        "density": inside.sum() / (k * len(fake)),
        "coverage": inside.any(1).mean(),
    }


def spectrum(images):
    """Mean over images, channels and rings floor(f min(H, W) + 1/2) of |X(u, v)|^2 / (H W), f in cycles per pixel up to 1/2."""
    _, height, width, _ = images.shape
    power = numpy.abs(numpy.fft.fft2(images.astype(numpy.float64), axes=(1, 2))) ** 2 / (height * width)
    u = numpy.minimum(numpy.arange(height), height - numpy.arange(height))[:, None]
    v = numpy.minimum(numpy.arange(width), width - numpy.arange(width))[None]
    # f min(H, W) = sqrt((u W)^2 + (v H)^2) / max(H, W): from whole numbers, so that halves are halves.
    ring = numpy.floor(numpy.sqrt((u * width) ** 2 + (v * height) ** 2) / max(height, width) + 0.5)
    rings = range(min(height, width) // 2 + 1)
    mean = power.mean((0, 3))
    return {
        "frequencies": [r / min(height, width) for r in rings],
        "power": [float(mean[ring == r].mean()) for r in rings],
    }


def sets(random):
    """(name, generated, reference); rows and columns by chance where nothing else is said."""
    normal = random.normal
    size = lambda low, high: int(random.integers(low, high))

    d = size(5, 9)
    mixing = normal(size=(d, d)) * numpy.arange(1, d + 1) ** -1.0
    draw = lambda count, shift=0.0: normal(size=(count, d)) @ mixing.T + shift
    yield "full rank", draw(size(20, 45), 0.3), draw(size(20, 45))
    yield "fewer images than dimensions", normal(size=(7, 19)), normal(size=(9, 19)) + 0.2
    yield "one singular", normal(size=(5, 11)), normal(size=(31, 11)) * 1.5
    thin = normal(size=(17, 2))
    yield "in a plane, and in another", thin @ normal(size=(2, 9)), normal(size=(21, 2)) @ normal(size=(2, 9)) + 1
    same = draw(23)
    yield "identical", same, same
    yield "identical, fewer than dimensions", same[:4], same[:4]
    yield "in another order", same, same[::-1]
    yield "nearly equal", same + 1e-3 * normal(size=same.shape), same
    yield "far apart", draw(15, 100), draw(18)
    yield "large", 3e7 * draw(19, 0.5), 3e7 * draw(16)
    yield "small", 1e-7 * draw(19, 0.5), 1e-7 * draw(16)
    scales = 10.0 ** numpy.linspace(-4, 4, 8)
    yield "columns of many scales", scales * normal(size=(21, 8)), 1.3 * scales * normal(size=(25, 8))
    yield "a mean far from zero", 2000 + draw(17), 2000.5 + draw(14)
    yield "one dimension", normal(size=(12, 1)), 3 * normal(size=(10, 1)) + 1
    still = draw(16)
    still[:, 2] = 0.25
    yield "a column that never changes", still, draw(18)
    yield "copies of one image", numpy.tile(draw(1), (8, 1)), draw(14)
    yield "nothing but copies", numpy.tile(draw(1), (6, 1)), numpy.tile(draw(1), (7, 1))
    few = draw(6)
    yield "duplicated images", few[random.integers(0, 6, 30)], few[random.integers(0, 6, 25)]
    yield "points of a grid", random.integers(0, 4, (40, 3)), random.integers(0, 4, (33, 3))
    yield "two images", draw(2), draw(2)


def probabilities(random, count, classes):
    rows = numpy.exp(4 * random.normal(size=(count, classes)))
    # Classes that are impossible to float32, and images that are sure.
    rows[random.random(rows.shape) < 0.2] = 0
    rows[::7] = numpy.eye(classes)[random.integers(0, classes, len(rows[::7]))]
    rows += (rows.sum(1, keepdims=True) == 0) / classes
    return (rows / rows.sum(1, keepdims=True)).astype(numpy.float32)


def main(out, seed):
    random = numpy.random.default_rng(seed)
    arrays, cases = {}, {}
    for name, *pair in sets(random):
        x, y = (numpy.ascontiguousarray(rows, dtype=numpy.float32) for rows in pair)
        classes = int(random.integers(1, 8))
        p = probabilities(random, len(x), classes)
        k = int(random.integers(1, min(len(x), len(y), 6)))
        splits = int(random.integers(1, min(len(x), 5) + 1))
        both = min(len(x), len(y))
        score, spread = inception_score(p, splits)
        cases[name] = {
            "neighbours": k,
            "splits": splits,
            "frechet": frechet(x, y),
            "frechetScipy": frechet_by_scipy(x, y),
            "kernelDistance": kernel_distance(x[:both], y[:both]),
            "inceptionScore": score,
            "inceptionScoreSpread": spread,
            **{key: float(value) for key, value in manifolds(x, y, k).items()},
        }
        arrays |= {f"{name}.generated": x, f"{name}.reference": y, f"{name}.probabilities": p}
    spectra = {}
    sizes = "1x1x1x1 2x1x9x1 1x5x1x3 3x7x11x1 2x13x13x3 1x6x24x2 1x30x14x1 1x14x28x1 2x16x16x3"
    for name in sizes.split():
        shape = tuple(map(int, name.split("x")))
        images = (random.normal(size=shape) * random.uniform(0.1, 3) + random.uniform(-2, 2)).astype(numpy.float32)
        arrays[f"{name}.images"] = images
        spectra[name] = spectrum(images)
    out.mkdir(parents=True, exist_ok=True)
    numpy.savez_compressed(out / "cases.npz", **arrays)
    (out / "cases.json").write_text(json.dumps({"sets": cases, "spectra": spectra}, indent=1) + "\n")


parser = argparse.ArgumentParser()
parser.add_argument("out", type=pathlib.Path)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
main(options.out, options.seed)

"""The Fréchet distance of two .npz references (mu, sigma) with SciPy, three ways, as JSON: {way: {distance, seconds}}.

    python frechet.py A.npz B.npz

sqrtm: the real trace of scipy.linalg.sqrtm(A B). eigenvalues: square roots of those of the symmetric A^(1/2) B A^(1/2).
singular values: the sum of those of A^(1/2) B^(1/2), which takes no root of rounding error.
"""
import json
import sys
import time

import numpy
import scipy.linalg


def root(matrix):
    values, vectors = numpy.linalg.eigh(matrix)
    # What rounding left of zeros is no variance.
    values[values < values.max() * len(values) * numpy.finfo(float).eps] = 0
    return (vectors * numpy.sqrt(values)) @ vectors.T


def by_sqrtm(a, b):
    return numpy.trace(scipy.linalg.sqrtm(a @ b)).real


def by_eigenvalues(a, b):
    left = root(a)
    return numpy.sqrt(numpy.linalg.eigvalsh(left @ b @ left).clip(0)).sum()


def by_singular_values(a, b):
    return scipy.linalg.svdvals(root(a) @ root(b)).sum()


with numpy.load(sys.argv[1]) as first, numpy.load(sys.argv[2]) as second:
    mu_a, a, mu_b, b = first["mu"], first["sigma"], second["mu"], second["sigma"]

results = {}
for name, trace_of_root in [
    ("sqrtm", by_sqrtm),
    ("eigenvalues", by_eigenvalues),
    ("singular values", by_singular_values),
]:
    start = time.process_time()
    distance = numpy.sum((mu_a - mu_b) ** 2) + numpy.trace(a) + numpy.trace(b) - 2 * trace_of_root(a, b)
    results[name] = {"distance": float(distance), "seconds": time.process_time() - start}
print(json.dumps(results))

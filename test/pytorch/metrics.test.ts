/** The golden values of the metrics are what SciPy, scikit-learn and torchmetrics give here, too; a reference of ours is read by NumPy. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { featureRows, readReference, writeReference } from '../../src/index.js';
import { testMetricCases } from '../support/metric-cases.js';
import { hasModules, runTool, temporaryDirectory } from '../support/pytorch.js';

const python = process.env['ONESTEP_PYTHON'] ?? 'python3';
describe.skipIf(!hasModules('scipy', 'sklearn', 'torchmetrics', 'torchvision'))('metrics in Python', () => {
  const directory = temporaryDirectory();

  it('give the golden values', () => {
    runTool('make_metric_goldens.py', directory);
    const read = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as Record<string, number>;
    const golden = read(fileURLToPath(new URL('../golden/metrics/metrics.json', import.meta.url)));
    const values = read(join(directory, 'metrics.json'));
    expect(Object.keys(values)).toEqual(Object.keys(golden));
    for (const [name, value] of Object.entries(golden)) expect(Math.abs(values[name]! / value - 1), name).toBeLessThan(1e-6);
  });

  it('read mu, sigma and rows of ours', async () => {
    const path = join(directory, 'ours.npz');
    const mean = Float64Array.of(0.25, -3);
    const covariance = Float64Array.of(2, 0.5, 0.5, 1e-9);
    await writeReference(path, { mean, covariance, features: featureRows(Float32Array.of(1, 2, 3, 4, 5, 6), 2) });
    const script = `import json, numpy; f = numpy.load(r"${path}"); print(json.dumps({k: [str(f[k].dtype), f[k].tolist()] for k in f.files}))`;
    const { stdout, stderr } = spawnSync(python, ['-c', script], { encoding: 'utf8' });
    expect(JSON.parse(stdout || stderr)).toEqual({
      mu: ['float64', [0.25, -3]],
      sigma: ['float64', [[2, 0.5], [0.5, 1e-9]]], // prettier-ignore
      features: ['float32', [[1, 2], [3, 4], [5, 6]]], // prettier-ignore
    });
  });

  it('write references that are read here, however they are stored', async () => {
    const script = `
import sys, numpy
random = numpy.random.default_rng(1)
rows = random.normal(size=(9, 5))
mu, sigma = rows.mean(0), numpy.cov(rows, rowvar=False)
folder = sys.argv[1]
numpy.savez(folder + "/stored.npz", mu=mu, sigma=sigma)
numpy.savez_compressed(folder + "/deflated.npz", sigma=sigma, mu=mu, count=numpy.int64(9))
numpy.savez(folder + "/fortran.npz", mu=mu, sigma=numpy.asfortranarray(sigma))
numpy.savez(folder + "/single.npz", mu=mu.astype("f4"), sigma=sigma.astype("f4"))
print(sigma.tolist(), mu.tolist(), sep="\\n")`;
    const { stdout, stderr } = spawnSync(python, ['-c', script, directory], { encoding: 'utf8' });
    const [sigma, mu] = (stdout || stderr)
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as number[] | number[][]);
    for (const [name, atol] of [
      ['stored', 0],
      ['deflated', 0],
      ['fortran', 0],
      ['single', 1e-6],
    ] as const) {
      // prettier-ignore
      const { mean, covariance } = await readReference(join(directory, `${name}.npz`));
      expect(mean, name).toBeAllclose(mu as number[], { rtol: 0, atol });
      expect(covariance, name).toBeAllclose(sigma!.flat(), { rtol: 0, atol });
    }
  });
});

describe.skipIf(!hasModules('mpmath', 'scipy')).each([1, 2, 3])('sets made by chance, seed %i:', (seed) => {
  const directory = temporaryDirectory();
  testMetricCases(directory, () => void runTool('make_metric_cases.py', directory, '--seed', String(seed)));
});

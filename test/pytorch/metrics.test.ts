/** The golden values of the metrics are what SciPy, scikit-learn and torchmetrics give here, too; a reference of ours is read by NumPy. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { featureRows, writeReference } from '../../src/index.js';
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
});

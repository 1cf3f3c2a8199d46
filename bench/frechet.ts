/**
 * The Fréchet distance at the size of the FID, on one core.
 *
 *     npx tsx bench/frechet.ts [--dimensions 2048] [--samples 6000] [--singular 1000] [--python python3]
 *
 * Features like Inception's: not negative, correlated, their spectrum falling fast; two sets that differ a little, once with more samples than dimensions
 * and once with fewer. Seconds of processor time for the statistics and for the distance. With --python, SciPy on one thread beside it:
 * `sqrtm` of the product, and two formulations that stay accurate where a covariance is singular.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { FeatureStatistics, frechetDistance, PhiloxRandom, writeReference } from '../src/index.js';

const { values } = parseArgs({
  options: {
    dimensions: { type: 'string', default: '2048' },
    samples: { type: 'string', default: '6000' },
    singular: { type: 'string', default: '1000' },
    python: { type: 'string' },
  },
});
const dimensions = Number(values.dimensions);
if (Math.log2(dimensions) % 1 !== 0) throw new RangeError(`expected --dimensions to be a power of two, got ${values.dimensions}`);

/** Walsh and Hadamard's transform, in place: mixes all values with all. */
function mix(row: Float64Array): void {
  for (let half = 1; half < row.length; half *= 2)
    for (let at = 0; at < row.length; at += 2 * half)
      for (let i = at; i < at + half; i++) {
        const [a, b] = [row[i]!, row[i + half]!];
        row[i] = (a + b) * Math.SQRT1_2;
        row[i + half] = (a - b) * Math.SQRT1_2;
      }
}

function statistics(samples: number, seed: number, decay: number, mean: number) {
  const random = new PhiloxRandom(seed).stream('features');
  const collected = new FeatureStatistics(dimensions);
  for (let n = 0; n < samples; n++) {
    const row = Float64Array.from(random.normal(dimensions), (z, k) => 4 * z * (k + 1) ** -decay);
    mix(row);
    collected.add(Float32Array.from(row, (v) => Math.max(0, v + mean)));
  }
  return collected.result();
}

const seconds = <T>(compute: () => T): [T, number] => {
  const before = process.cpuUsage().user;
  return [compute(), (process.cpuUsage().user - before) / 1e6];
};

const directory = mkdtempSync(join(tmpdir(), 'onestep-frechet-'));
try {
  for (const [name, samples] of [
    ['full rank', Number(values.samples)],
    ['singular', Number(values.singular)],
  ] as const) {
    const [[a, b], collecting] = seconds(() => [statistics(samples, 1, 0.8, 0.3), statistics(samples, 2, 0.75, 0.32)] as const);
    const [distance, time] = seconds(() => frechetDistance(a, b));
    console.log(`${name}: ${samples} x ${dimensions}, statistics of both in ${collecting.toFixed(1)} s (with making the features)`);
    console.log(`  onestep            ${distance.toPrecision(14).padEnd(20)} ${time.toFixed(1)} s`);
    if (values.python === undefined) continue;
    const paths = [join(directory, 'a.npz'), join(directory, 'b.npz')] as const;
    await writeReference(paths[0], a);
    await writeReference(paths[1], b);
    const script = fileURLToPath(new URL('frechet.py', import.meta.url));
    const { status, stdout, stderr, error } = spawnSync(values.python, ['-B', script, ...paths], {
      encoding: 'utf8',
      env: { ...process.env, OMP_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1', MKL_NUM_THREADS: '1' },
    });
    if (status !== 0) throw new Error(`${values.python}: ${error?.message ?? stderr}`);
    for (const [how, found] of Object.entries(JSON.parse(stdout) as Record<string, { distance: number; seconds: number }>))
      console.log(
        `  ${how.padEnd(18)} ${found.distance.toPrecision(14).padEnd(20)} ${found.seconds.toFixed(1)} s, relative difference ${(distance / found.distance - 1).toExponential(1)}`,
      );
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}

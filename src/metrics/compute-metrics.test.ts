import { describe, expect, it } from 'vitest';
import type { Metric } from '../core/contracts/metric.js';
import { computeMetrics } from './compute-metrics.js';
import { densityCoverage } from './density-coverage.js';
import { frechet } from './frechet.js';
import { kernelDistance } from './kernel-distance.js';
import { precisionRecall } from './precision-recall.js';
import { normalRows, setOf } from './test-support.js';

const [generated, reference] = [setOf(normalRows(520, 6, 0, 0.4)), setOf(normalRows(310, 6, 1))];
const all = () => [
  precisionRecall(),
  frechet(),
  densityCoverage({ neighbours: 7 }),
  kernelDistance({ subsets: 3, subsetSize: 40 }),
  densityCoverage({ neighbours: 1 }),
];

describe('computeMetrics', () => {
  it('gives what each metric gives alone, in their order', async () => {
    const alone = [];
    for (const metric of all()) alone.push(await metric.compute(generated, reference));
    expect(await computeMetrics(all(), generated, reference)).toEqual(alone);
  });

  it('compares every pair once for precision, recall, density and coverage together', async () => {
    const counts = new Map<string, number>();
    await computeMetrics([precisionRecall(), densityCoverage()], generated, reference, {
      onProgress: (names, _, count) => void counts.set(names.join(), Math.max(count, counts.get(names.join()) ?? 0)),
    });
    expect([...counts]).toEqual([['precision-recall,density-coverage', (520 * 519 + 310 * 309) / 2 + 520 * 310]]);
  });

  it('tells how far it is: from 0 up, to the end', async () => {
    const told: string[] = [];
    await computeMetrics([kernelDistance({ subsets: 4, subsetSize: 20 }), frechet()], generated, reference, {
      onProgress: ([name], done, count) => void told.push(`${name} ${done}/${count}`),
    });
    expect(told).toEqual([
      'kernel-distance 0/1',
      'kernel-distance 1/4',
      'kernel-distance 2/4',
      'kernel-distance 3/4',
      'kernel-distance 1/1',
      'frechet 0/1',
      'frechet 1/1',
    ]);
  });

  it('gives no reference to what compares with none', async () => {
    const given: unknown[] = [];
    const alone: Metric = {
      name: 'alone',
      needs: [],
      comparesWithReference: false,
      compute: (_, other) => Promise.resolve({ there: given.push(other) }),
    };
    expect(await computeMetrics([alone], generated, reference)).toEqual([{ there: 1 }]);
    expect(given).toEqual([undefined]);
  });

  it.each<[string, Metric]>([
    ['kernel distance', kernelDistance({ subsets: 1000, subsetSize: 300 })],
    ['precision and recall', precisionRecall()],
    ['density and coverage', densityCoverage()],
  ])('ends the %s between two blocks', async (_, metric) => {
    const reason = new Error('no longer wanted');
    const controller = new AbortController();
    let after = 0;
    const onProgress = (__: readonly string[], done: number) => {
      if (controller.signal.aborted) after++;
      else if (done > 0) controller.abort(reason);
    };
    await expect(computeMetrics([metric], generated, reference, { signal: controller.signal, onProgress })).rejects.toBe(reason);
    expect(controller.signal.aborted).toBe(true);
    expect(after).toBe(0);
  });

  it('begins nothing after the signal', async () => {
    const compute = () => Promise.reject(new Error('begun'));
    const metric: Metric = { name: 'never', needs: [], comparesWithReference: false, compute };
    const controller = new AbortController();
    const onProgress = () => void setImmediate(() => controller.abort(new Error('stop')));
    await expect(computeMetrics([metric], generated, reference, { signal: controller.signal, onProgress })).rejects.toThrow(/stop|begun/);
    await expect(computeMetrics([metric], generated, reference, { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow(
      'before',
    );
  });
});

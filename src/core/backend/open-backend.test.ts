import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { engines } from '../../../test/support/engines.js';
import { openBackend } from './index.js';

describe('openBackend', () => {
  it('hands over tensors when it switches to another engine', async () => {
    await openBackend({ engine: 'wasm' });
    const before = tf.memory().numTensors;
    const x = tf.tensor2d([[1, 2], [3, 4]]); // prettier-ignore
    for (const engine of [...engines, 'wasm'] as const) {
      const backend = await openBackend({ engine });
      expect([backend.name, tf.getBackend()]).toEqual([engine, engine]);
      const square = tf.matMul(x, x);
      expect(square.dataSync()).toBeAllclose([7, 10, 15, 22]);
      square.dispose();
    }
    x.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('is cheap when the engine is open already', async () => {
    const first = await openBackend({ engine: engines[0] });
    const start = performance.now();
    for (let i = 0; i < 20; i++) expect(await openBackend({ engine: engines[0] })).toEqual(first);
    // Loading it anew would take half a second each time.
    expect(performance.now() - start).toBeLessThan(5_000);
  });

  it.runIf(engines.includes('tensorflow'))('cannot change the number of threads once TensorFlow is loaded', async () => {
    const { threads } = await openBackend({ engine: 'tensorflow' });
    expect((await openBackend({ engine: 'tensorflow', threads })).threads).toBe(threads);
    await expect(openBackend({ engine: 'tensorflow', threads: threads + 1 })).rejects.toMatchObject({ code: 'E_ENGINE_THREADS' });
    // A slower engine is no answer to that.
    await expect(openBackend({ threads: threads + 1 })).rejects.toMatchObject({ code: 'E_ENGINE_THREADS' });
  });

  it.runIf(engines.includes('tensorflow'))('prefers tensorflow and says so', async () => {
    const said: string[] = [];
    const { ONESTEP_ENGINE: named } = process.env;
    delete process.env['ONESTEP_ENGINE'];
    const backend = await openBackend({ onMessage: (line) => said.push(line) });
    if (named !== undefined) process.env['ONESTEP_ENGINE'] = named;
    expect(backend).toMatchObject({ name: 'tensorflow', reason: 'tensorflow is the fastest engine and works' });
    expect(said).toEqual([]);
  });
});

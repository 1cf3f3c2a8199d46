/** Every golden vector of the repository, on every engine that this machine has. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { parity, type ParityRow } from '../src/pipelines/parity/index.js';
import { engines, useEngine } from './support/engines.js';
import { goldenPath } from './support/golden.js';

const networks = ['ncsnpp', 'ncsnpp-cond-augment', 'ddpmpp', 'song-skip', 'adm'];

/** Every check that must have run, with the largest error that it may have. */
const expected: Record<string, Record<string, number | undefined>> = {
  ...Object.fromEntries(
    networks.map((name) => [
      name,
      {
        config: undefined,
        'architecture inferred': undefined,
        'parameter count': undefined,
        'freeze levels': undefined,
        weights: undefined,
        'inputs and outputs': undefined,
        'raw output F': 1e-5,
        'one-step output G': 1e-5,
        'denoised output D': 1e-5,
        'gradient of the image': 1e-4,
        'gradient norms': 1e-4,
      },
    ]),
  ),
  'sampler-heun-6': { 'inputs and outputs': undefined, 'noise levels': 1e-6, samples: 1e-5 },
  'disc-head': {
    weights: undefined,
    'inputs and outputs': undefined,
    'first forward': 1e-5,
    'second forward': 1e-5,
    'R1 forward': 1e-5,
    'R1 gradient of the features': 1e-4,
    'R1 penalty': 1e-4,
    'R1 parameter gradients': 1e-4,
  },
  projection: { weights: undefined, 'inputs and outputs': undefined, 'mixed maps': 1e-5 },
  frechet: { 'frechet.json': undefined, full: 1e-6, singular: 1e-6, identical: 1e-6 },
};

describe.each(engines)('golden vectors on %s', (engine) => {
  let rows: ParityRow[];
  let leaked: number;

  beforeAll(async () => {
    await useEngine(engine);
    const before = tf.memory().numTensors;
    rows = await parity(goldenPath(''));
    leaked = tf.memory().numTensors - before;
  }, 300_000);

  it.each(Object.entries(expected))('%s', (subject, checks) => {
    const own = rows.filter((row) => row.subject === subject);
    expect(own.filter(({ status }) => status !== 'ok')).toEqual([]);
    expect(own.map(({ check }) => check)).toEqual(Object.keys(checks));
    for (const { check, error } of own)
      if (checks[check] === undefined) expect(error).toBeUndefined();
      else expect(error, check).toBeLessThanOrEqual(checks[check]);
  });

  it('nothing else fails, and nothing is left in memory', () => {
    expect(rows.filter(({ status }) => status === 'failed')).toEqual([]);
    expect(leaked).toBe(0);
  });
});

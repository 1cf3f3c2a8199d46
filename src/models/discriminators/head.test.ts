/** Values and gradients are those of the golden head: test/golden.test.ts. */
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { PhiloxRandom } from '../../core/random.js';
import { engines, useEngine } from '../../../test/support/engines.js';
import { DiscriminatorHead } from './head.js';

describe('head shapes', () => {
  it('halves down to the end and gives one logit map', async () => {
    await useEngine(engines[0]!);
    const head = new DiscriminatorHead({ prefix: 'h.', channels: 6, start: 16, end: 4 }).initialize(new PhiloxRandom(1));
    const maps = tf.zeros<tf.Rank.R4>([2, 16, 16, 6]);
    const before = tf.memory().numTensors;
    const logits = head.forward(maps);
    expect(logits.shape).toEqual([2, 1, 1, 1]);
    logits.dispose();
    expect(tf.memory().numTensors).toBe(before);
    head.dispose();
  });
});

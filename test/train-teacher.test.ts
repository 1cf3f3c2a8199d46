/** Teachers trained from nothing. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { Adam, ConfigError, shapes, trainTeacher, type RunEvent } from '../src/index.js';
import { engines, useEngine } from './support/engines.js';
import { tinyBackbone } from './support/tiny.js';

const options = {
  backbone: tinyBackbone,
  data: shapes({ resolution: 8, size: 1000 }),
  optimizer: new Adam({ learningRate: 3e-3, beta1: 0.9, beta2: 0.999 }),
  schedule: { images: 3_200, batchSize: 32, warmUp: 320, coolDown: 1_600 },
  intervals: { checkpoint: 0, snapshot: 0, samples: 0, evaluation: 0 },
  sampleCount: 2,
  samplerSteps: 2,
};

describe('trainTeacher', () => {
  beforeAll(() => useEngine(engines[0]!));

  it('learns: the denoising loss falls, and nothing is left behind', async () => {
    const before = tf.memory().numTensors;
    const run = trainTeacher(options);
    const losses: number[] = [];
    run.events$.subscribe((event: RunEvent) => event.kind === 'step' && losses.push(event.losses['denoising']!));
    const { teacher, reason } = await run.completed;
    const mean = (part: number[]) => part.reduce((a, b) => a + b) / part.length;
    expect(reason).toBe('completed');
    expect(mean(losses.slice(-20))).toBeLessThan(0.85 * mean(losses.slice(0, 5)));
    teacher.backbone.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('reports wrong options together, and data that do not fit', async () => {
    const wrong = { ...options, backbone: { ...tinyBackbone, num_blocks: 0 }, samplerSteps: -1, seed: 0.5 };
    expect(() => trainTeacher(wrong)).toThrow(ConfigError);
    expect(() => trainTeacher(wrong)).toThrow(/num_blocks[\s\S]*samplerSteps[\s\S]*seed/);
    const run = trainTeacher({ ...options, data: shapes({ resolution: 16, size: 10 }) });
    await expect(run.completed).rejects.toThrow('resolution: the backbone makes 8 px, shapes-16 has 16 px');
  });
});

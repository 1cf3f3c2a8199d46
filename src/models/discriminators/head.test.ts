import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gradients, vectorJacobianProduct } from '../../core/autodiff/index.js';
import { PhiloxRandom } from '../../core/random.js';
import type { TensorFile } from '../../core/tensor-file.js';
import { engines, useEngine } from '../../../test/support/engines.js';
import { goldenPath, goldenTensor, openGolden } from '../../../test/support/golden.js';
import { weightsOf } from '../nn/weights.js';
import { DiscriminatorHead } from './head.js';

describe.each(engines)('the golden discriminator head on %s', (engine) => {
  let io: TensorFile;
  let head: DiscriminatorHead;

  beforeAll(async () => {
    await useEngine(engine);
    io = await openGolden('disc-head.io.safetensors');
    head = new DiscriminatorHead({ prefix: '', channels: 8, start: 32, end: 8, width: () => 12 });
    await head.load(weightsOf(await openGolden('disc-head.weights.safetensors'), goldenPath('disc-head.weights.safetensors')));
  });
  afterAll(() => head.dispose());

  // The order matters: u and v advance by one power iteration a training forward.
  it('two training forwards, then R1 with its parameter gradients', async () => {
    const features = (await goldenTensor(io, 'features')) as tf.Tensor4D;
    const expectClose = async (actual: tf.Tensor, name: string, rtol: number) => {
      expect(actual.dataSync()).toBeCloseInL2((await goldenTensor(io, name)).dataSync(), rtol);
    };
    await expectClose(head.forward(features), 'logits_first', 1e-5);
    await expectClose(head.forward(features), 'logits_second', 1e-5);

    const parameters = head.parameters();
    const kept: { logits?: tf.Tensor; gradient?: tf.Tensor; penalty?: tf.Tensor } = {};
    const parameterGradients = gradients(
      () => {
        const [gradient] = vectorJacobianProduct(() => {
          kept.logits = tf.keep(head.forward(features));
          return tf.sum(kept.logits);
        }, [features]);
        kept.gradient = tf.keep(gradient!.clone());
        const penalty = tf.sum(tf.square(gradient!), [1, 2, 3]);
        kept.penalty = tf.keep(penalty.clone());
        return tf.mean(penalty);
      },
      parameters.map(({ value }) => value),
      { allowUnused: true },
    );
    await expectClose(kept.logits!, 'logits_r1', 1e-5);
    await expectClose(kept.gradient!, 'r1_input_grad', 1e-4);
    await expectClose(kept.penalty!, 'r1_penalty', 1e-4);
    for (const [index, parameter] of parameters.entries()) {
      const expected = await goldenTensor(io, `r1_param_grad.${parameter.name}`);
      const actual = parameterGradients[index]!;
      const layout = parameter.kind === 'conv' && actual.rank === 4 ? tf.transpose(actual, [3, 0, 1, 2]) : actual;
      // A bias before BatchNorm has gradient zero but for rounding: hence the absolute tolerance.
      expect(layout.dataSync()).toBeAllclose(expected.dataSync(), { rtol: 1e-3, atol: 2e-6 });
    }
  });
});

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

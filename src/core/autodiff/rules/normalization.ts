/** Batch normalization with given statistics: `(x - mean) * rsqrt(variance + epsilon) * scale + offset`. */
import * as tf from '@tensorflow/tfjs-core';
import { rule, unbroadcast, type Rule } from './rule.js';

export const normalization: Rule[] = [
  rule(
    'FusedBatchNorm',
    (dy, saved, { varianceEpsilon }, inputs) => {
      const [x, mean, variance] = saved;
      const scale = inputs.scale ? saved[3] : undefined;
      const rstd = () => tf.rsqrt(tf.add(variance!, varianceEpsilon));
      const factor = () => (scale ? tf.mul(rstd(), scale) : rstd());
      const sum = (t: tf.Tensor, name: string) => unbroadcast(t, inputs[name]!.shape);
      const centred = () => tf.mul(dy, tf.sub(x!, mean!));
      return {
        x: () => tf.mul(dy, factor()),
        mean: () => tf.neg(tf.mul(sum(dy, 'mean'), factor())),
        variance: () => tf.mul(sum(centred(), 'variance'), tf.mul(-0.5, tf.mul(factor(), tf.square(rstd())))),
        scale: () => tf.mul(sum(centred(), 'scale'), rstd()),
        offset: () => sum(dy, 'offset'),
      };
    },
    {
      inputsToSave: ['x', 'mean', 'variance', 'scale'],
      needs: {
        x: ['variance', 'scale'],
        mean: ['variance', 'scale'],
        variance: ['x', 'mean', 'variance', 'scale'],
        scale: ['x', 'mean', 'variance'],
        offset: [],
      },
    },
  ),
];

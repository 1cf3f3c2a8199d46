/** Products of matrices, with broadcast batches. */
import * as tf from '@tensorflow/tfjs-core';
import { rule, unbroadcast, type Rule } from './rule.js';

export const matmul: Rule[] = [
  rule(
    'BatchMatMul',
    (dy, [a, b], { transposeA, transposeB }, inputs) => ({
      a: () => unbroadcast(transposeA ? tf.matMul(b!, dy, transposeB, true) : tf.matMul(dy, b!, false, !transposeB), inputs.a!.shape),
      b: () => unbroadcast(transposeB ? tf.matMul(dy, a!, true, transposeA) : tf.matMul(a!, dy, !transposeA, false), inputs.b!.shape),
    }),
    { inputsToSave: ['a', 'b'], needs: { a: ['b'], b: ['a'] } },
  ),
];

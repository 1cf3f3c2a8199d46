/**
 * What a differentiation rule is.
 *
 * These rules replace TensorFlow.js's, which are not in `@tensorflow/tfjs-core` for Node at all but in the union
 * package: they save no tensor only for its shape, are made of operations that have rules themselves (so that they
 * can be differentiated again), and run on every engine.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { GradientFunction } from '../tape.js';

export interface Rule {
  kernelName: string;
  inputsToSave?: string[];
  outputsToSave?: boolean[];
  saveAllInputs?: boolean;
  /** For each input the saved inputs that its gradient uses; what no wanted gradient uses is not kept. */
  needs?: Record<string, readonly string[]>;
  gradFunc: GradientFunction;
}

/** A rule with single-output types, `dy` and `attrs` loosely typed as the engine has them. */
export function rule(
  kernelName: string,
  gradFunc: (dy: tf.Tensor, saved: tf.Tensor[], attrs: any, inputs: Record<string, tf.Tensor>) => Record<string, () => tf.Tensor>,
  rest: Omit<Rule, 'kernelName' | 'gradFunc'> = {},
): Rule {
  return { kernelName, gradFunc: gradFunc as GradientFunction, ...rest };
}

/** Sums `dx` over the axes along which a value of `shape` was broadcast. */
export function unbroadcast(dx: tf.Tensor, shape: number[]): tf.Tensor {
  if (tf.util.arraysEqual(dx.shape, shape)) return dx;
  const lead = dx.rank - shape.length;
  const axes = dx.shape.flatMap((n, i) => (i < lead || (shape[i - lead] === 1 && n !== 1) ? [i] : []));
  if (axes.length === 0) return tf.reshape(dx, shape);
  const sum = tf.sum(dx, axes);
  return tf.util.arraysEqual(sum.shape, shape) ? sum : tf.reshape(sum, shape);
}

/** 1 where `condition`, else 0; a constant for differentiation. */
export const mask = (condition: tf.Tensor): tf.Tensor => tf.cast(condition, 'float32');

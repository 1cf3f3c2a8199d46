/** Elementwise arithmetic with broadcasting, and functions of one variable. */
import * as tf from '@tensorflow/tfjs-core';
import { zeroLike } from '../tape.js';
import { mask, rule, unbroadcast, type Rule } from './rule.js';

type Derivative = (dy: tf.Tensor, saved: tf.Tensor) => tf.Tensor;

/** A rule for y = f(x) whose derivative is written in terms of x. */
const ofInput = (kernelName: string, d: Derivative): Rule =>
  rule(kernelName, (dy, [x]) => ({ x: () => d(dy, x!) }), { inputsToSave: ['x'] });

/** A rule for y = f(x) whose derivative is written in terms of y. */
const ofOutput = (kernelName: string, d: Derivative): Rule =>
  rule(kernelName, (dy, [y]) => ({ x: () => d(dy, y!) }), { outputsToSave: [true] });

/** A rule for a function that is constant between its jumps. */
const constant = (kernelName: string): Rule =>
  rule(kernelName, (_dy, _saved, _attrs, inputs) => Object.fromEntries(Object.keys(inputs).map((name) => [name, zeroLike(inputs[name]!)])));

const crossed = { a: ['b'], b: ['a'] };
const both = { inputsToSave: ['a', 'b'] };

export const arithmetic: Rule[] = [
  rule('Add', (dy, _saved, _attrs, { a, b }) => ({ a: () => unbroadcast(dy, a!.shape), b: () => unbroadcast(dy, b!.shape) })),
  rule('AddN', (dy, _saved, _attrs, inputs) => Object.fromEntries(Object.keys(inputs).map((name) => [name, () => dy]))),
  rule('Sub', (dy, _saved, _attrs, { a, b }) => ({ a: () => unbroadcast(dy, a!.shape), b: () => tf.neg(unbroadcast(dy, b!.shape)) })),
  rule(
    'Multiply',
    (dy, [a, b], _attrs, inputs) => ({
      a: () => unbroadcast(tf.mul(dy, b!), inputs.a!.shape),
      b: () => unbroadcast(tf.mul(dy, a!), inputs.b!.shape),
    }),
    { ...both, needs: crossed },
  ),
  rule(
    'RealDiv',
    (dy, [a, b], _attrs, inputs) => ({
      a: () => unbroadcast(tf.div(dy, b!), inputs.a!.shape),
      b: () => unbroadcast(tf.neg(tf.div(tf.mul(dy, a!), tf.square(b!))), inputs.b!.shape),
    }),
    { ...both, needs: { a: ['b'], b: ['a', 'b'] } },
  ),
  rule(
    'SquaredDifference',
    (dy, [a, b]) => {
      const d = () => tf.mul(dy, tf.mul(2, tf.sub(a!, b!)));
      return { a: () => unbroadcast(d(), a!.shape), b: () => tf.neg(unbroadcast(d(), b!.shape)) };
    },
    both,
  ),
  // Where both are equal, `a` gets the gradient.
  rule(
    'Maximum',
    (dy, [a, b]) => ({
      a: () => unbroadcast(tf.mul(dy, mask(tf.greaterEqual(a!, b!))), a!.shape),
      b: () => unbroadcast(tf.mul(dy, mask(tf.less(a!, b!))), b!.shape),
    }),
    both,
  ),
  rule(
    'Minimum',
    (dy, [a, b]) => ({
      a: () => unbroadcast(tf.mul(dy, mask(tf.lessEqual(a!, b!))), a!.shape),
      b: () => unbroadcast(tf.mul(dy, mask(tf.greater(a!, b!))), b!.shape),
    }),
    both,
  ),
  rule(
    'Pow',
    (dy, [a, b, y]) => ({
      a: () => unbroadcast(tf.mul(dy, tf.mul(b!, tf.pow(a!, tf.sub(b!, 1)))), a!.shape),
      // log of what is not positive counts as 0.
      b: () => {
        const positive = tf.greater(a!, 0);
        return unbroadcast(
          tf.mul(dy, tf.mul(y!, tf.where(positive, tf.log(tf.where(positive, a!, tf.onesLike(a!))), tf.zerosLike(a!)))),
          b!.shape,
        );
      },
    }),
    { ...both, outputsToSave: [true] },
  ),
  rule(
    'Select',
    (dy, [condition], _attrs, inputs) => {
      const t = () => tf.mul(dy, mask(condition!));
      return { condition: zeroLike(inputs.condition!), t, e: () => tf.mul(dy, tf.sub(1, mask(condition!))) };
    },
    { inputsToSave: ['condition'] },
  ),

  rule('Neg', (dy) => ({ x: () => tf.neg(dy) })),
  rule('Identity', (dy) => ({ x: () => dy })),
  rule('Cast', (dy) => ({ x: () => tf.cast(dy, 'float32') })),
  ofInput('Abs', (dy, x) => tf.mul(dy, tf.sign(x))),
  ofInput('Square', (dy, x) => tf.mul(dy, tf.mul(2, x))),
  ofOutput('Sqrt', (dy, y) => tf.div(dy, tf.mul(2, y))),
  ofOutput('Rsqrt', (dy, y) => tf.mul(dy, tf.mul(-0.5, tf.mul(y, tf.square(y))))),
  ofOutput('Reciprocal', (dy, y) => tf.neg(tf.mul(dy, tf.square(y)))),
  ofOutput('Exp', (dy, y) => tf.mul(dy, y)),
  ofOutput('Expm1', (dy, y) => tf.mul(dy, tf.add(y, 1))),
  ofInput('Log', (dy, x) => tf.div(dy, x)),
  ofInput('Log1p', (dy, x) => tf.div(dy, tf.add(1, x))),
  ofInput('Sin', (dy, x) => tf.mul(dy, tf.cos(x))),
  ofInput('Cos', (dy, x) => tf.neg(tf.mul(dy, tf.sin(x)))),
  ofInput('Atan', (dy, x) => tf.div(dy, tf.add(1, tf.square(x)))),
  ofInput('Erf', (dy, x) => tf.mul(dy, tf.mul(2 / Math.sqrt(Math.PI), tf.exp(tf.neg(tf.square(x)))))),

  ...['Sign', 'Step', 'Floor', 'Ceil', 'Round', 'ZerosLike', 'OnesLike', 'FloorDiv', 'ArgMax', 'ArgMin', 'IsNan', 'IsInf', 'IsFinite'].map(
    constant,
  ),
  ...['Greater', 'GreaterEqual', 'Less', 'LessEqual', 'Equal', 'NotEqual', 'LogicalAnd', 'LogicalOr', 'LogicalNot', 'OneHot'].map(constant),
];

export { constant, ofInput, ofOutput };

/**
 * Parameters as few flat buffers: an engine operation costs 10 to 20 microseconds, a network has hundreds of parameters.
 *
 * The buffers are kept to about a million values. One buffer for everything takes five times as long per value on a CPU:
 * blocks above 32 MB are mapped from and given back to the system at every operation.
 */
import * as tf from '@tensorflow/tfjs-core';
import { ArgumentError, WeightsError } from './errors.js';
import { fusedFlatten, fusedUnflatten } from './native/flatten.js';
import type { Parameter } from './parameter.js';

/** Values of a bucket that holds more than one parameter. */
const BUCKET_VALUES = 2 ** 20;

const isFused = () => tf.getBackend() === 'tensorflow';

/** Consecutive parameters that share one flat tensor. */
export interface Bucket {
  parameters: readonly Parameter[];
  /** Index of its first parameter in the whole list. */
  first: number;
  /** Number of values. */
  size: number;
}

/** How a list of parameters is laid out in flat buffers. */
export class FlatParameters {
  readonly buckets: readonly Bucket[];

  /** Throws `E_VALUE` where two parameters share a name. */
  constructor(
    readonly parameters: readonly Parameter[],
    bucketValues = BUCKET_VALUES,
  ) {
    const names = new Set<string>();
    const buckets: { parameters: Parameter[]; first: number; size: number }[] = [];
    parameters.forEach((parameter, index) => {
      if (names.has(parameter.name))
        throw new ArgumentError('E_VALUE', `parameters: expected names of their own, got ${parameter.name} twice`, {
          help: 'bind the parameters of one network once',
        });
      names.add(parameter.name);
      const last = buckets.at(-1);
      if (!last || last.size + parameter.size > bucketValues) buckets.push({ parameters: [parameter], first: index, size: parameter.size });
      else {
        last.parameters.push(parameter);
        last.size += parameter.size;
      }
    });
    this.buckets = buckets;
  }

  /** The bucket's part of `tensors` (one per parameter, in order) as one tensor `[size]`. The caller disposes it. */
  concat(bucket: Bucket, tensors: readonly tf.Tensor[]): tf.Tensor1D {
    const own = bucket.parameters.map((_, i) => tensors[bucket.first + i]!);
    const fused = isFused() ? fusedFlatten(own) : undefined;
    if (fused) return fused;
    return tf.tidy(() => {
      const flat = bucket.parameters.map((parameter, i) => tf.reshape<tf.Rank.R1>(own[i]!, [parameter.size]));
      return flat.length === 1 ? flat[0]! : tf.concat1d(flat);
    });
  }

  /** The bucket's parameter values as one tensor `[size]`. The caller disposes it. */
  values(bucket: Bucket): tf.Tensor1D {
    const tensors: tf.Tensor[] = [];
    bucket.parameters.forEach((parameter, i) => (tensors[bucket.first + i] = parameter.value));
    return this.concat(bucket, tensors);
  }

  /** One tensor per parameter of the bucket, in the engine's shapes. The caller disposes them. */
  split(bucket: Bucket, flat: tf.Tensor): tf.Tensor[] {
    const { parameters } = bucket;
    const fused = isFused()
      ? fusedUnflatten(
          flat,
          parameters.map(({ engineShape }) => engineShape),
        )
      : undefined;
    if (fused) return fused;
    return tf.tidy(() => {
      const parts =
        parameters.length === 1
          ? [flat]
          : tf.split(
              flat,
              parameters.map(({ size }) => size),
            );
      return parameters.map((parameter, i) => tf.reshape(parts[i]!, parameter.engineShape));
    });
  }

  /** Gives the bucket's parameters the values of `flat`. */
  assign(bucket: Bucket, flat: tf.Tensor): void {
    this.split(bucket, flat).forEach((value, i) => bucket.parameters[i]!.assign(value));
  }

  /** A tensor of zeros per bucket, kept until disposed. */
  zeros(): tf.Tensor1D[] {
    return this.buckets.map(({ size }) => tf.keep(tf.zeros([size])));
  }

  /** Values by parameter name in the published layout; `flats` holds one tensor per bucket. */
  read(flats: readonly tf.Tensor[]): Map<string, Float32Array> {
    const out = new Map<string, Float32Array>();
    this.buckets.forEach((bucket, i) => {
      const parts = this.split(bucket, flats[i]!);
      bucket.parameters.forEach((parameter, k) =>
        out.set(
          parameter.name,
          through(
            parameter,
            () => parameter.assign(parts[k]!),
            () => parameter.read(),
          ),
        ),
      );
    });
    return out;
  }

  /** `read` of one parameter; undefined where the name is not among them. */
  readOne(name: string, flats: readonly tf.Tensor1D[]): Float32Array | undefined {
    for (const [i, { parameters }] of this.buckets.entries()) {
      let offset = 0;
      for (const parameter of parameters) {
        if (parameter.name === name) {
          const value = tf.tidy(() => tf.reshape(tf.slice1d(flats[i]!, offset, parameter.size), parameter.engineShape));
          return through(
            parameter,
            () => parameter.assign(value),
            () => parameter.read(),
          );
        }
        offset += parameter.size;
      }
    }
    return undefined;
  }

  /** The inverse of `read`: one kept tensor per bucket. Call `check` first. */
  write(values: ReadonlyMap<string, Float32Array>): tf.Tensor1D[] {
    return this.buckets.map((bucket) => {
      const parts: tf.Tensor[] = [];
      bucket.parameters.forEach((parameter, k) => {
        parts[bucket.first + k] = through(
          parameter,
          () => parameter.load(values.get(parameter.name)!),
          () => tf.keep(tf.clone(parameter.value)),
        );
      });
      const flat = tf.keep(this.concat(bucket, parts));
      parts.forEach((part) => part.dispose());
      return flat;
    });
  }

  /** Throws `E_WEIGHTS_MISMATCH` that lists every name that is missing or unknown and every size that differs. */
  check(where: string, fields: readonly string[], state: ReadonlyMap<string, object>): void {
    const problems: string[] = [];
    for (const { name, size } of this.parameters) {
      const entry = state.get(name) as Record<string, Float32Array | undefined> | undefined;
      if (!entry) problems.push(`${name}: expected, not found`);
      else
        for (const field of fields) {
          const found = entry[field]?.length;
          if (found !== size) problems.push(`${name}: expected ${size} values of ${field}, found ${found ?? 'none'}`);
        }
    }
    const known = new Set(this.parameters.map(({ name }) => name));
    for (const name of state.keys()) if (!known.has(name)) problems.push(`${name}: found, not expected`);
    if (problems.length > 0)
      throw new WeightsError('E_WEIGHTS_MISMATCH', `${where}: ${problems.length} problems\n${problems.map((p) => `  - ${p}`).join('\n')}`, {
        help: 'the state belongs to another network or freeze policy; go on with the options that it was made with',
      });
  }
}

/** Runs `use` while `parameter` holds what `set` gives it, then puts its own value back: the layouts are the parameter's to know. */
function through<T>(parameter: Parameter, set: () => void, use: () => T): T {
  const own = tf.keep(tf.clone(parameter.value));
  try {
    set();
    return use();
  } finally {
    parameter.assign(own);
  }
}

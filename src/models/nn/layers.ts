/**
 * The layers of the diffusion backbones. Activations are `[B, H, W, C]`, vectors `[B, N]`.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { ParameterRole } from '../../core/contracts/parameter.js';
import type { NamedTensor, Parameter, TensorLayout } from '../../core/parameter.js';
import { biasActivation, groupNorm } from '../../core/autodiff/index.js';
import { constant, ones, zeros } from './initializers.js';
import { Module, type Initializer } from './module.js';
import { showLayer } from './observe.js';
import { filterPadding, resample2d } from './resample.js';

/** Where a layer stands: the names and roles its parameters carry. */
export interface Place {
  /** Published name without `.weight`. */
  name: string;
  role: ParameterRole;
  block?: string | undefined;
  level?: number | undefined;
}

/** Starting values of a layer: from its fans. */
export interface LayerInitialization {
  weight(fanIn: number, fanOut: number): Initializer;
  bias(fanIn: number, fanOut: number): Initializer;
}

/** Fully connected layer `[B, in] -> [B, out]`. */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
  readonly #place: Place;

  constructor(place: Place, inputs: number, outputs: number, initialization: LayerInitialization, options: { bias?: boolean } = {}) {
    super();
    const { name, ...rest } = place;
    this.#place = place;
    this.weight = this.addParameter(
      `${name}.weight`,
      [outputs, inputs],
      { kind: 'linear', ...rest },
      initialization.weight(inputs, outputs),
    );
    if (options.bias ?? true)
      this.bias = this.addParameter(`${name}.bias`, [outputs], { kind: 'linear', ...rest }, initialization.bias(inputs, outputs));
  }

  forward(x: tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => {
      const product: tf.Tensor2D = tf.matMul(x, this.weight.value as tf.Tensor2D);
      const y = this.bias ? biasActivation(product, this.bias.value) : product;
      showLayer(this.#place, y);
      return y;
    });
  }
}

/** Options of {@link Conv2d}. */
export interface Conv2dOptions {
  /** 0: no convolution, only the resampling. */
  kernel: 0 | 1 | 3;
  /** Default 1. */
  stride?: 1 | 2;
  /**
   * Zeros at the border. `same` (default): as many as keep size / stride; where their number is odd, as for a 3x3
   * convolution of stride 2 over even sizes, the last row and column have the one more. A number: on every side.
   */
  pad?: 'same' | number;
  resample?: 'up' | 'down' | undefined;
  /** Filter taps of the resampling. */
  filter?: readonly number[];
  /** Convolve first, then filter with stride 2: the aux convolution of NCSN++. */
  fused?: boolean;
  layout?: (shape: readonly number[]) => { weight: TensorLayout; bias: TensorLayout };
}

/** Convolution with optional resampling before it. */
export class Conv2d extends Module {
  readonly weight: Parameter | undefined;
  readonly bias: Parameter | undefined;
  readonly #place: Place;
  readonly #options: Conv2dOptions;
  readonly #taps: readonly number[];

  constructor(place: Place, inputs: number, outputs: number, initialization: LayerInitialization, options: Conv2dOptions) {
    super();
    const { kernel, resample } = options;
    const { name, ...rest } = place;
    this.#place = place;
    this.#options = options;
    this.#taps = options.filter ?? [1, 1];
    if (kernel > 0) {
      const shape = [outputs, inputs, kernel, kernel];
      const layout = options.layout?.(shape);
      const fanIn = inputs * kernel ** 2;
      const fanOut = outputs * kernel ** 2;
      const parameter = { kind: 'conv' as const, ...rest };
      this.weight = this.addParameter(
        `${name}.weight`,
        shape,
        { ...parameter, layout: layout?.weight },
        initialization.weight(fanIn, fanOut),
      );
      this.bias = this.addParameter(`${name}.bias`, [outputs], { ...parameter, layout: layout?.bias }, initialization.bias(fanIn, fanOut));
    }
    if (resample) {
      const sum = this.#taps.reduce((a, b) => a + b, 0);
      const outer = this.#taps.flatMap((a) => this.#taps.map((b) => (a * b) / sum ** 2));
      this.addBuffer(`${name}.resample_filter`, [1, 1, this.#taps.length, this.#taps.length], constant(outer));
    }
  }

  /** Without the bias; callers that add something else anyway add both at once. */
  forwardWithoutBias(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const y = this.#resampled(x);
      if (this.weight) showLayer(this.#place, y, this.bias?.value);
      return y;
    });
  }

  #resampled(x: tf.Tensor4D): tf.Tensor4D {
    const { resample, fused } = this.#options;
    const taps = this.#taps;
    if (fused && resample === 'down') {
      const pad = filterPadding(taps);
      const padded = tf.pad(x, [
        [0, 0],
        [pad, pad],
        [pad, pad],
        [0, 0],
      ]);
      return resample2d(this.#convolve(padded), taps, 'down', 0);
    }
    return this.#convolve(resample ? resample2d(x, taps, resample) : x);
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const y = this.forwardWithoutBias(x);
      return this.bias ? biasActivation(y, this.bias.value) : y;
    });
  }

  #convolve(x: tf.Tensor4D): tf.Tensor4D {
    const { stride = 1, pad = 'same' } = this.#options;
    return this.weight ? tf.conv2d(x, this.weight.value as tf.Tensor4D, stride, pad) : x;
  }
}

/** Options of {@link GroupNorm}. */
export interface NormOptions {
  epsilon: number;
  /** Number of groups; divides the channels. Default min(32, C/4). */
  groups?: number | undefined;
  /** Apply SiLU after the normalisation, in the same pass. */
  silu?: boolean;
}

/** Group normalisation, optionally with adaptive scale and shift and SiLU. */
export class GroupNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly #groups: number;
  readonly #options: NormOptions;

  constructor(place: Place, channels: number, options: NormOptions) {
    super();
    const { name, ...rest } = place;
    this.#groups = options.groups ?? Math.max(1, Math.min(32, Math.floor(channels / 4)));
    this.#options = options;
    this.weight = this.addParameter(`${name}.weight`, [channels], { kind: 'norm', ...rest }, ones);
    this.bias = this.addParameter(`${name}.bias`, [channels], { kind: 'norm', ...rest }, zeros);
  }

  /** SiLU?(shift + norm(x + offset) * (scale + 1)); `scale`, `shift` and `offset` are `[B, 1, 1, C]`. */
  forward(x: tf.Tensor4D, modulation: { scale?: tf.Tensor; shift?: tf.Tensor; offset?: tf.Tensor } = {}): tf.Tensor4D {
    return groupNorm(x, this.weight.value as tf.Tensor1D, this.bias.value as tf.Tensor1D, {
      groups: this.#groups,
      epsilon: this.#options.epsilon,
      silu: this.#options.silu ?? false,
      ...modulation,
    });
  }
}

/**
 * Noise levels `[B]` to `[B, channels]` by fixed frequencies.
 *
 * `positional`: (1/10000)^(i/(half-1)); `adm`: (1/10000)^(i/half); both sine first but `adm`, which has cosine first.
 */
export function positionalEmbedding(noise: tf.Tensor1D, channels: number, variant: 'positional' | 'adm'): tf.Tensor2D {
  const half = channels / 2;
  const divisor = variant === 'positional' ? half - 1 : half;
  const frequencies = Float32Array.from({ length: half }, (_, i) => (1 / 10000) ** (i / divisor));
  return tf.tidy(() => sinusoids(noise, tf.tensor1d(frequencies), variant === 'adm' ? 'cosine-first' : 'sine-first'));
}

/** Noise levels `[B]` to `[B, 2*frequencies]` by a stored random buffer: sine, then cosine of 2 pi noise freqs. */
export function fourierEmbedding(noise: tf.Tensor1D, frequencies: NamedTensor): tf.Tensor2D {
  return tf.tidy(() => sinusoids(noise, tf.mul(frequencies.value, 2 * Math.PI) as tf.Tensor1D, 'sine-first'));
}

function sinusoids(noise: tf.Tensor1D, frequencies: tf.Tensor1D, order: 'sine-first' | 'cosine-first'): tf.Tensor2D {
  const phases = tf.mul(tf.expandDims(noise, 1), tf.expandDims(frequencies, 0)) as tf.Tensor2D;
  const [sine, cosine] = [tf.sin(phases), tf.cos(phases)];
  return tf.concat(order === 'sine-first' ? [sine, cosine] : [cosine, sine], 1);
}

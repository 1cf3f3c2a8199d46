/**
 * A block of a vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929), none of which trains.
 */
import * as tf from '@tensorflow/tfjs-core';
import { attention, gelu, layerNorm, residualAdd, silu } from '../../core/autodiff/index.js';
import { linearLayout, type NamedTensor } from '../../core/parameter.js';
import { normal, ones, zeros } from '../nn/initializers.js';
import { Module, type Initializer } from '../nn/module.js';
import { Derived, type FrozenLayer } from './pretrained-features.js';

/** Options of {@link TransformerBlock}. */
export interface TransformerBlockOptions {
  /** Stands before the published names, without the dot. */
  name: string;
  /** Length of a token. */
  width: number;
  /** Attention heads; they divide the width. */
  heads: number;
  /** Of the layer normalisations. */
  epsilon: number;
  /** The exact GELU, or CLIP's x sigmoid(1.702 x). Default `gelu`. */
  activation?: 'gelu' | 'quick-gelu';
  /** True: what each half adds is scaled by channel (LayerScale, arXiv 2103.17239). Default false. */
  layerScale?: boolean;
}

/** `weight` is published as `[out, in]`. */
interface LinearTensors {
  weight: NamedTensor;
  bias: NamedTensor;
}

/** Of GELU by a sigmoid (Hendrycks & Gimpel 2016). */
const QUICK_GELU = 1.702;

/**
 * x + attention(norm1(x)), then x + mlp(norm2(x)), under timm's names.
 *
 * Scale and shift of the norms are folded into the layers after them, layer scales into those before.
 */
export class TransformerBlock extends Module implements FrozenLayer {
  readonly #options: TransformerBlockOptions;
  readonly #norms: readonly [LinearTensors, LinearTensors];
  readonly #qkv: LinearTensors;
  readonly #proj: LinearTensors;
  readonly #fc1: LinearTensors;
  readonly #fc2: LinearTensors;
  readonly #scales: readonly [NamedTensor, NamedTensor] | undefined;
  readonly #derived = new Derived<'qkv' | 'qkvBias' | 'proj' | 'projBias' | 'fc1' | 'fc1Bias' | 'fc2' | 'fc2Bias'>();

  constructor(options: TransformerBlockOptions) {
    super();
    const { name, width, layerScale = false } = options;
    this.#options = options;
    const pair = (layer: string, shape: readonly number[], initializer: Initializer): LinearTensors => ({
      weight: this.addBuffer(`${name}.${layer}.weight`, shape, initializer, shape.length === 2 ? linearLayout(shape) : undefined),
      bias: this.addBuffer(`${name}.${layer}.bias`, [shape[0]!], zeros),
    });
    const linear = (layer: string, inputs: number, outputs: number) => pair(layer, [outputs, inputs], normal(Math.sqrt(1 / inputs)));
    this.#norms = [pair('norm1', [width], ones), pair('norm2', [width], ones)];
    this.#qkv = linear('attn.qkv', width, 3 * width);
    this.#proj = linear('attn.proj', width, width);
    this.#fc1 = linear('mlp.fc1', width, 4 * width);
    this.#fc2 = linear('mlp.fc2', 4 * width, width);
    if (layerScale) this.#scales = [this.addBuffer(`${name}.ls1.gamma`, [width], ones), this.addBuffer(`${name}.ls2.gamma`, [width], ones)];
  }

  /** Tokens `[B, N, width]` to tokens. */
  forward(x: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const { epsilon, activation } = this.#options;
      const { proj, projBias, fc1, fc1Bias, fc2, fc2Bias } = this.#weights();
      const h = add(x, this.#attend(layerNorm(x, epsilon)), proj, projBias);
      const hidden = tf.add(tf.matMul(rows(layerNorm(h, epsilon)), fc1 as tf.Tensor2D), fc1Bias);
      return add(h, activation === 'quick-gelu' ? silu(hidden) : gelu(hidden), fc2, fc2Bias);
    });
  }

  prepare(): void {
    this.#weights();
  }

  /** Frees the published tensors; what was derived from them stays until other weights are loaded. */
  release(): void {
    this.#weights();
    super.dispose();
  }

  override dispose(): void {
    super.dispose();
    this.#derived.dispose();
  }

  /** What attention gathers for each token, `[B * N, width]`. */
  #attend(x: tf.Tensor3D): tf.Tensor {
    const [batch, tokens, width] = x.shape;
    const { heads } = this.#options;
    const { qkv, qkvBias } = this.#weights();
    const projected = tf.add(tf.matMul(rows(x), qkv as tf.Tensor2D), qkvBias);
    return tf.reshape(attention(tf.reshape(projected, [batch, tokens, 3 * width]), { heads }), [batch * tokens, width]);
  }

  /**
   * norm(x) scale + shift, times W, plus bias, is norm(x) (diag(scale) W) + (shift W + bias).
   * A layer scale multiplies the columns before it. x sigmoid(a x) is SiLU(a x) / a: a goes into fc1, 1/a into fc2.
   */
  #weights() {
    const { activation } = this.#options;
    return this.#derived.of(this.tensors(), () => {
      const [norm1, norm2] = this.#norms;
      const normed = (norm: LinearTensors, { weight, bias }: LinearTensors) => ({
        weight: tf.mul(tf.expandDims(norm.weight.value, 1), weight.value),
        bias: tf.add(tf.squeeze(tf.matMul(tf.expandDims(norm.bias.value, 0) as tf.Tensor2D, weight.value as tf.Tensor2D), [0]), bias.value),
      });
      const scaled = ({ weight, bias }: LinearTensors, scale: NamedTensor | undefined) =>
        scale
          ? { weight: tf.mul(weight.value, scale.value), bias: tf.mul(bias.value, scale.value) }
          : { weight: tf.clone(weight.value), bias: tf.clone(bias.value) };
      const { weight: qkv, bias: qkvBias } = normed(norm1, this.#qkv);
      const { weight: proj, bias: projBias } = scaled(this.#proj, this.#scales?.[0]);
      const { weight: fc1, bias: fc1Bias } = normed(norm2, this.#fc1);
      const { weight: fc2, bias: fc2Bias } = scaled(this.#fc2, this.#scales?.[1]);
      const attending = { qkv, qkvBias, proj, projBias };
      if (activation !== 'quick-gelu') return { ...attending, fc1, fc1Bias, fc2, fc2Bias };
      const mlp = { fc1: tf.mul(fc1, QUICK_GELU), fc1Bias: tf.mul(fc1Bias, QUICK_GELU), fc2: tf.div(fc2, QUICK_GELU), fc2Bias };
      return { ...attending, ...mlp };
    });
  }
}

/** `[B, N, C]` as a matrix `[B * N, C]`. */
const rows = (x: tf.Tensor3D): tf.Tensor2D => tf.reshape(x, [x.shape[0] * x.shape[1], x.shape[2]]);

/** `x + y weight + bias`. */
const add = (x: tf.Tensor3D, y: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor): tf.Tensor3D =>
  residualAdd(tf.reshape(tf.matMul(y as tf.Tensor2D, weight as tf.Tensor2D), x.shape), x, bias);

/** Convolutions of two kinds in fewer multiplications, by the fused operations of `winograd.cc` and `winograd-filter.cc`. */
import type * as tf from '@tensorflow/tfjs-core';
import { canFuse, runFused } from './fused.js';

/** What a convolution is asked for: the attributes of TensorFlow.js's kernels. */
export interface ConvolutionAttributes {
  strides: number | readonly number[];
  pad: unknown;
  dataFormat?: string;
  dilations?: number | readonly number[];
}

type Shape = readonly number[];

/** Convolution of `x` `[B, H, W, C]` by `filter` `[side, side, C, K]`; undefined where this way cannot be taken, or is no faster. */
export function winograd(x: tf.Tensor, filter: tf.Tensor, attributes: ConvolutionAttributes): tf.Tensor | undefined {
  const stride = strideOf(x.shape, filter.shape, attributes, FEW_TILES);
  if (stride === undefined || !canFuse([x, filter])) return undefined;
  const [height, width] = x.shape.slice(1, 3).map((length) => Math.ceil(length / stride)) as [number, number];
  return run('OnestepWinograd', [x, filter], { stride, height, width }, { transposed: false });
}

/** Its gradient for the images `[…inputShape]`; undefined as above. */
export function winogradBackpropInput(
  dy: tf.Tensor,
  filter: tf.Tensor,
  attributes: ConvolutionAttributes & { inputShape: Shape },
): tf.Tensor | undefined {
  const stride = strideOf(attributes.inputShape, filter.shape, attributes, FEW_TILES);
  if (stride === undefined || !canFuse([dy, filter])) return undefined;
  const [, height, width] = attributes.inputShape as [number, number, number];
  return run('OnestepWinograd', [dy, filter], { stride, height, width }, { transposed: true });
}

/** Its gradient for the filter `[…filterShape]`; undefined as above. */
export function winogradBackpropFilter(
  x: tf.Tensor,
  dy: tf.Tensor,
  attributes: ConvolutionAttributes & { filterShape: Shape },
): tf.Tensor | undefined {
  const stride = strideOf(x.shape, attributes.filterShape, attributes, FEW_TILES_OF_A_FILTER);
  if (stride === undefined || !canFuse([x, dy])) return undefined;
  return run('OnestepWinogradFilter', [x, dy], { stride });
}

const run = (name: string, inputs: tf.Tensor[], integers: Record<string, number>, flags: Record<string, boolean> = {}): tf.Tensor =>
  runFused(name, inputs, { integers, flags }, 1)[0]!;

/** The stride of a convolution that is faster this way: 3x3 at stride 1, 4x4 at stride 2, with a frame of one zero. */
function strideOf(
  inputShape: Shape,
  filterShape: Shape,
  { strides, pad, dataFormat = 'NHWC', dilations = 1 }: ConvolutionAttributes,
  fewTiles: number,
): number | undefined {
  const [batch, height, width] = inputShape as [number, number, number];
  const [rows, columns, inputs, outputs] = filterShape as [number, number, number, number];
  const stride = SIDES.indexOf(rows);
  if (stride < 1 || columns !== rows || [strides].flat().some((length) => length !== stride)) return undefined;
  if (pad !== 'same' || dataFormat !== 'NHWC' || [dilations].flat().some((length) => length !== 1)) return undefined;
  if (inputs % LANES !== 0 || outputs % LANES !== 0 || Math.min(inputs, outputs) < FEW_CHANNELS) return undefined;
  const tiles = batch * Math.ceil(height / stride / RESULTS[stride]!) * Math.ceil(width / stride / RESULTS[stride]!);
  return tiles < fewTiles ? undefined : stride;
}

/** Height and width of the filter by its stride. */
const SIDES = [0, 3, 4];
/** Height and width of what a tile gives, by stride. */
const RESULTS = [0, 2, 3];
const LANES = 8;
// Measured on two cores with AVX2 (bench/convolutions.ts): with fewer tiles the filter's transform costs what the rest saves.
const FEW_CHANNELS = 16;
const FEW_TILES = 48;
const FEW_TILES_OF_A_FILTER = 16;

/**
 * Convolutions by oneDNN, which TensorFlow carries but uses by itself only on processors with AVX-512 VNNI and the like.
 *
 * Elsewhere it takes Eigen's, whose gradients for images run at half the speed and whose small or strided convolutions are
 * slower still.
 */
import * as tf from '@tensorflow/tfjs-core';

interface Attribute {
  name: string;
  type: number;
  value: unknown;
}

interface TensorflowBackend {
  isUsingGpuDevice?: boolean;
  binding: Record<'TF_ATTR_TYPE' | 'TF_ATTR_INT' | 'TF_ATTR_STRING' | 'TF_FLOAT', number>;
  executeSingleOutput(name: string, attributes: Attribute[], inputs: tf.Tensor[]): tf.Tensor;
}

type Operation = 'Conv2D' | 'Conv2DBackpropInput' | 'Conv2DBackpropFilter';
type Shape4D = [number, number, number, number];
type ConvInfo = ReturnType<typeof tf.backend_util.computeConv2DInfo>;

interface Geometry {
  info: ConvInfo;
  padding: 'SAME' | 'VALID';
}

/** Which backend was asked, and whether it has these operations. */
let probed: { backend: object; works: boolean } | undefined;

/** Whether this TensorFlow has oneDNN's convolutions, and computes on processors. */
export function hasOneDnn(): boolean {
  const backend = tf.backend() as unknown as TensorflowBackend;
  if (probed?.backend !== backend) probed = { backend, works: tryOut(backend) };
  return probed.works;
}

function tryOut(backend: TensorflowBackend): boolean {
  if (backend.isUsingGpuDevice) return false;
  const shape: Shape4D = [1, 3, 3, 1];
  const info = tf.backend_util.computeConv2DInfo(shape, [2, 2, 1, 1], 1, 1, 'valid');
  const ones = { x: tf.ones(shape), filter: tf.ones([2, 2, 1, 1]) };
  try {
    return tf.tidy(() => execute('Conv2D', { info, padding: 'VALID' }, [ones.x, ones.filter]).dataSync()[0] === 4);
  } catch {
    return false; // An unknown operation: another build of TensorFlow.
  } finally {
    tf.dispose(ones);
  }
}

function execute(operation: Operation, { info, padding }: Geometry, inputs: tf.Tensor[]): tf.Tensor {
  const backend = tf.backend() as unknown as TensorflowBackend;
  const { TF_ATTR_TYPE, TF_ATTR_INT, TF_ATTR_STRING, TF_FLOAT } = backend.binding;
  return backend.executeSingleOutput(
    `_MklNative${operation}`,
    [
      { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT },
      { name: 'strides', type: TF_ATTR_INT, value: [1, info.strideHeight, info.strideWidth, 1] },
      { name: 'padding', type: TF_ATTR_STRING, value: padding },
      { name: 'data_format', type: TF_ATTR_STRING, value: 'NHWC' },
      { name: 'dilations', type: TF_ATTR_INT, value: [1, 1, 1, 1] },
      // The kernels are registered under this label; TensorFlow's own rewriting of operations sets it too.
      { name: '_kernel', type: TF_ATTR_STRING, value: 'MklNameChangeOp' },
    ],
    inputs,
  );
}

/** As `execute`; where oneDNN fails, says so once, and TensorFlow's own convolutions are taken from then on. */
function attempt(operation: Operation, place: Geometry, inputs: tf.Tensor[]): tf.Tensor | undefined {
  try {
    return execute(operation, place, inputs);
  } catch (error) {
    probed = { backend: tf.backend(), works: false };
    const [reason] = (error as Error).message.split('\n');
    process.stderr.write(
      `onestep: oneDNN's ${operation} failed (${reason}): TensorFlow's own convolutions from here on, which are slower\n`,
    );
    return undefined;
  }
}

/** The geometry of a convolution that oneDNN can compute; undefined for others, paddings as numbers among them. */
function geometry(
  inputShape: number[],
  filterShape: number[],
  { strides, pad, dataFormat = 'NHWC', dilations = 1 }: any,
  tensors: tf.Tensor[],
): Geometry | undefined {
  if (typeof pad !== 'string' || dataFormat !== 'NHWC' || [dilations].flat().some((d: number) => d !== 1) || !hasOneDnn()) return undefined;
  if (tensors.some((tensor) => tensor.dtype !== 'float32' || tensor.size === 0)) return undefined;
  const info = tf.backend_util.computeConv2DInfo(inputShape as Shape4D, filterShape as Shape4D, strides, 1, pad as 'same' | 'valid');
  return { info, padding: pad === 'same' ? 'SAME' : 'VALID' };
}

const isPointwise = ({ info: { filterHeight, filterWidth, strideHeight, strideWidth } }: Geometry) =>
  filterHeight * filterWidth * strideHeight * strideWidth === 1;

// Which is faster was measured on two cores with AVX2, on the shapes of the published networks at batch 4 and 64.

/** The convolution; undefined where TensorFlow's own is as fast (1x1: a product of matrices) or the only one. */
export function oneDnnConv2D(x: tf.Tensor, filter: tf.Tensor, attrs: any): tf.Tensor | undefined {
  const place = geometry(x.shape, filter.shape, attrs, [x, filter]);
  return place && !isPointwise(place) ? attempt('Conv2D', place, [x, filter]) : undefined;
}

/** Its gradient for the images `[…inputShape]`; undefined as above. */
export function oneDnnConv2DBackpropInput(dy: tf.Tensor, filter: tf.Tensor, attrs: any): tf.Tensor | undefined {
  const place = geometry(attrs.inputShape, filter.shape, attrs, [dy, filter]);
  if (!place || place.info.inChannels < FEW_CHANNELS) return undefined;
  return withShape(attrs.inputShape, (shape) => attempt('Conv2DBackpropInput', place, [shape, filter, dy]));
}

/** Its gradient for the filter `[…filterShape]`; undefined as above. */
export function oneDnnConv2DBackpropFilter(x: tf.Tensor, dy: tf.Tensor, attrs: any): tf.Tensor | undefined {
  const place = geometry(x.shape, attrs.filterShape, attrs, [x, dy]);
  if (!place || isPointwise(place)) return undefined;
  const { inChannels, outChannels, filterHeight, filterWidth, strideHeight, strideWidth } = place.info;
  // Where a stride leaves pixels out, it sometimes reads what nobody wrote (TensorFlow 2.21; 1x1 at stride 2, few channels).
  if (filterHeight < strideHeight || filterWidth < strideWidth) return undefined;
  const narrow = outChannels < FEW_CHANNELS || (inChannels <= 64 && x.size < SMALL) || (inChannels <= 128 && strideHeight > 1);
  if (!narrow) return undefined;
  return withShape(attrs.filterShape, (shape) => attempt('Conv2DBackpropFilter', place, [x, shape, dy]));
}

function withShape<T>(shape: number[], use: (tensor: tf.Tensor) => T): T {
  const tensor = tf.tensor1d(shape, 'int32');
  try {
    return use(tensor);
  } finally {
    tensor.dispose();
  }
}

const FEW_CHANNELS = 8;
const SMALL = 2 ** 20;

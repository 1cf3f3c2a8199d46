/** Raw TensorFlow operations, called through the backend of the engine `tensorflow`. */
import * as tf from '@tensorflow/tfjs-core';

interface Attribute {
  name: string;
  type: number;
  value: unknown;
}

interface TensorflowBackend {
  binding: Record<'TF_ATTR_TYPE' | 'TF_ATTR_FLOAT' | 'TF_ATTR_INT' | 'TF_ATTR_STRING' | 'TF_FLOAT', number>;
  executeSingleOutput(name: string, attributes: Attribute[], inputs: tf.Tensor[]): tf.Tensor;
}

/**
 * The output of the float32 operation `name`. Its attributes besides the type: a list is one of integers, a string
 * a string, a number a float.
 */
export function executeTensorflow(
  name: string,
  inputs: tf.Tensor[],
  attributes: Record<string, number | string | number[]> = {},
): tf.Tensor {
  const backend = tf.backend() as unknown as TensorflowBackend;
  const { TF_ATTR_TYPE, TF_ATTR_FLOAT, TF_ATTR_INT, TF_ATTR_STRING, TF_FLOAT } = backend.binding;
  const typed = Object.entries(attributes).map(([key, value]) => ({
    name: key,
    type: Array.isArray(value) ? TF_ATTR_INT : typeof value === 'string' ? TF_ATTR_STRING : TF_ATTR_FLOAT,
    value,
  }));
  return backend.executeSingleOutput(name, [{ name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT }, ...typed], inputs);
}

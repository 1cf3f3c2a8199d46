/** Raw TensorFlow operations, called through the backend of the engine `tensorflow`. */
import * as tf from '@tensorflow/tfjs-core';

interface Attribute {
  name: string;
  type: number;
  value: unknown;
}

interface TensorflowBackend {
  binding: { TF_ATTR_TYPE: number; TF_ATTR_FLOAT: number; TF_ATTR_INT: number; TF_ATTR_BOOL: number; TF_ATTR_STRING: number; TF_FLOAT: number; TF_INT32: number };
  executeSingleOutput(name: string, attributes: Attribute[], inputs: tf.Tensor[]): tf.Tensor;
}

/** One output of the float32 operation `name`; `floats` are its further attributes. */
export function executeTensorflow(name: string, inputs: tf.Tensor[], floats: Record<string, number> = {}): tf.Tensor {
  const backend = tf.backend() as unknown as TensorflowBackend;
  const { TF_ATTR_TYPE, TF_ATTR_FLOAT, TF_FLOAT } = backend.binding;
  return backend.executeSingleOutput(
    name,
    [{ name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT }, ...Object.entries(floats).map(([key, value]) => ({ name: key, type: TF_ATTR_FLOAT, value }))],
    inputs,
  );
}

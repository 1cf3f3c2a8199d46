/**
 * An engine that computes shapes and no values: any program of tensors runs on it in no memory and next to no time, so
 * that what the program would need, and whether its shapes fit, is known beforehand.
 */
import * as tf from '@tensorflow/tfjs-core';
import { registerKernelQuietly } from '../autodiff/define-kernel.js';
import { installAutodiff } from '../autodiff/install.js';
import { ArgumentError } from '../errors.js';
import { shapeRules, type Shape, type ShapeInputs } from './shape-kernels.js';

/** The name that `tf.getBackend()` gives while it is used. */
export const SHAPE_ENGINE = 'shapes';

/** What stands where values would be. */
interface NoValues extends Shape {
  holders: number;
}

/** Every value that is read is 1: finite, and true. */
class ShapeBackend extends tf.KernelBackend {
  override write(_values: unknown, shape: number[], dtype: tf.DataType): object {
    return { shape, dtype, holders: 1 } satisfies NoValues;
  }
  override readSync(dataId: object) {
    const { shape, dtype } = dataId as NoValues;
    const size = tf.util.sizeFromShape([...shape]);
    return (dtype === 'float32' ? new Float32Array(size) : dtype === 'bool' ? new Uint8Array(size) : new Int32Array(size)).fill(1);
  }
  override read(dataId: object) {
    return Promise.resolve(this.readSync(dataId));
  }
  override disposeData(dataId: object): boolean {
    return --(dataId as NoValues).holders <= 0;
  }
  override incRef(dataId: object): void {
    (dataId as NoValues).holders++;
  }
  override numDataIds(): number {
    return 0;
  }
  override memory() {
    return { unreliable: true };
  }
  override floatPrecision(): 32 {
    return 32;
  }
  override epsilon(): number {
    return 1e-7;
  }
  override dispose(): void {}
}

function installShapeKernels(): void {
  for (const [kernelName, rule] of Object.entries(shapeRules))
    registerKernelQuietly({
      kernelName,
      backendName: SHAPE_ENGINE,
      kernelFunc: ({ inputs, attrs }) => {
        // Optional inputs may be given as undefined.
        const given = Object.fromEntries(Object.entries(inputs).filter(([, input]) => input != null)) as unknown as ShapeInputs;
        const results = rule(given, attrs ?? {});
        const make = ({ shape, dtype }: Shape): tf.TensorInfo => ({
          dataId: { shape, dtype, holders: 1 } satisfies NoValues,
          shape: [...shape],
          dtype,
        });
        return Array.isArray(results) ? results.map(make) : make(results);
      },
    });
}

/** The name of the kernel that the running operation lacks, in TensorFlow.js's words. */
const LACKING = /[Kk]ernel '(\w+)' (?:not registered )?for backend 'shapes'/;

/**
 * Runs `f` on an engine that computes shapes alone, and goes back to the engine there was.
 *
 * `f` is synchronous: nothing else of the process may meet this engine. The tensors that it makes must not outlive it.
 * Throws `E_ENGINE_SHAPE_RULE` for an operation whose shapes are not known here.
 */
export function withShapeEngine<T>(f: () => T): T {
  const engine = tf.engine() as unknown as { backendName: string | null; setBackend(name: string): Promise<boolean> };
  const former = engine.backendName;
  if (former === SHAPE_ENGINE) return f();
  installAutodiff();
  installShapeKernels();
  tf.registerBackend(SHAPE_ENGINE, () => new ShapeBackend(), 0);
  // Neither engine is opened here, so that both changes take place at once, not when the promise is resolved.
  void engine.setBackend(SHAPE_ENGINE);
  try {
    return f();
  } catch (error) {
    const kernel = LACKING.exec((error as Error).message)?.[1];
    if (kernel === undefined) throw error;
    throw new ArgumentError('E_ENGINE_SHAPE_RULE', `shape engine: the shape of ${kernel}'s result is not known`, {
      help: 'add a rule for it to shape-kernels.ts, or write the computation with other operations',
      cause: error,
    });
  } finally {
    tf.removeBackend(SHAPE_ENGINE);
    if (former) void engine.setBackend(former);
  }
}

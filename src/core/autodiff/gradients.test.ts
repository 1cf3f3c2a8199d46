import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { gradients, installAutodiff, valueAndGradients, vectorJacobianProduct } from './index.js';

beforeAll(async () => {
  installAutodiff();
  await tf.setBackend('cpu');
});

/** Runs `f` and asserts that no tensor is left but the returned ones, which it disposes. */
function leakFree<T extends tf.TensorContainer>(f: () => T): void {
  const before = tf.memory().numTensors;
  tf.dispose(f());
  expect(tf.memory().numTensors).toBe(before);
}

describe('valueAndGradients', () => {
  it('differentiates a scalar', () => {
    const x = tf.tensor1d([2, 3]);
    const {
      value,
      gradients: [dx],
    } = valueAndGradients(() => tf.sum(tf.mul(x, tf.square(x))), [x]);
    expect(value.arraySync()).toBe(35);
    expect(dx!.arraySync()).toEqual([12, 27]);
  });

  it('gives back what f returns beside the loss', () => {
    const x = tf.tensor1d([2, 3]);
    const { value, aux } = valueAndGradients(() => {
      const y = tf.square(x);
      return { loss: tf.sum(y), y, name: 'square' };
    }, [x]);
    expect(value.arraySync()).toBe(13);
    expect((aux.y as tf.Tensor).arraySync()).toEqual([4, 9]);
    expect(aux.name).toBe('square');
  });

  it('keeps the order of xs and accepts one twice', () => {
    const [a, b] = [tf.scalar(2), tf.scalar(5)];
    const result = gradients(() => tf.mul(a, tf.square(b)), [b, a, b]);
    expect(result.map((g) => g.arraySync())).toEqual([20, 25, 20]);
    expect(new Set(result).size).toBe(3);
  });

  it.each(['exp', 'sigmoid', 'tanh', 'softmax', 'elu', 'logSoftmax', 'sqrt'] as const)(
    'counts what a saved output contributes to the second derivative of %s',
    (name) => {
      const x = tf.tensor1d([0.5, 0.3, 1.2]);
      const w = tf.tensor1d([1, 2, -1]);
      const first = (at: tf.Tensor) => gradients(() => tf.sum(tf.mul((tf[name] as (x: tf.Tensor) => tf.Tensor)(at), w)), [at])[0]!;
      const [second] = gradients(() => tf.sum(tf.mul(first(x), tf.tensor1d([1, 0, 0]))), [x]);
      const h = 1e-2;
      const [plus, minus] = [h, -h].map((step) => first(tf.add(x, tf.tensor1d([step, 0, 0]))).arraySync() as number[]);
      expect(second!.dataSync()).toBeAllclose(
        plus!.map((v, i) => (v - minus![i]!) / (2 * h)),
        { rtol: 1e-2, atol: 1e-3 },
      );
    },
  );

  it('leaves no tensor behind', () => {
    const x = tf.tensor2d([
      [1, 2],
      [3, 4],
    ]);
    const w = tf.tensor2d([
      [1, 0],
      [2, 1],
    ]);
    leakFree(() => {
      const r = valueAndGradients(() => {
        const y = tf.tanh(tf.matMul(x, w));
        return { loss: tf.mean(tf.square(y)), y };
      }, [w]);
      return [r.value, ...r.gradients, r.aux.y];
    });
    leakFree(() => gradients(() => tf.sum(gradients(() => tf.sum(tf.exp(tf.matMul(x, w))), [x])[0]!), [w]));
    leakFree(() => tf.tidy(() => gradients(() => tf.sum(tf.exp(x)), [x])));
  });

  it('leaves no tensor behind when f, or a gradient, throws', () => {
    const x = tf.tensor1d([1, 2]);
    const failing = tf.customGrad((a) => ({
      value: tf.square(a as tf.Tensor),
      gradFunc: () => {
        throw new Error('backward');
      },
    }));
    const before = tf.memory().numTensors;
    expect(() =>
      gradients(() => {
        tf.exp(tf.sigmoid(x));
        throw new Error('forward');
      }, [x]),
    ).toThrow('forward');
    expect(() => gradients(() => tf.sum(tf.exp(failing(tf.exp(x)))), [x])).toThrow('backward');
    expect(tf.memory().numTensors).toBe(before);
    expect(gradients(() => tf.sum(tf.square(x)), [x])[0]!.arraySync()).toEqual([2, 4]);
  });

  it('names an x that the result does not depend on, or gives zeros', () => {
    const [x, unused] = [tf.scalar(1), tf.zeros([2, 3])];
    const before = tf.memory().numTensors;
    expect(() => gradients(() => tf.square(x), [x, unused])).toThrow(/xs\[1\] \(shape \[2, 3\]\)/);
    expect(tf.memory().numTensors).toBe(before);
    expect(gradients(() => tf.square(x), [x, unused], { allowUnused: true })[1]!.arraySync()).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
  });

  it('refuses a loss that is no scalar', () => {
    const x = tf.tensor1d([1, 2]);
    expect(() => gradients(() => tf.square(x), [x])).toThrow(/scalar.*shape \[2\]/);
  });

  it('is freed by an outer tidy', () => {
    const x = tf.tensor1d([1, 2]);
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      valueAndGradients(() => tf.sum(tf.exp(x)), [x]);
    });
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('vectorJacobianProduct', () => {
  it('multiplies the cotangent with the Jacobian', () => {
    const x = tf.tensor1d([1, 2, 3]);
    const [dx] = vectorJacobianProduct(() => tf.square(x), [x], tf.tensor1d([1, 10, 100]));
    expect(dx!.arraySync()).toEqual([2, 40, 600]);
  });

  it('is differentiable: R1 of a quadratic discriminator', () => {
    const images = tf.tensor2d([
      [1, 2],
      [3, 4],
    ]);
    const w = tf.tensor2d([[2], [3]]);
    // D(x) = (xw)^2: the gradient is 2(xw)w, the penalty sum 4(xw)^2 |w|^2.
    const {
      value,
      gradients: [dw],
    } = valueAndGradients(() => {
      const [g] = vectorJacobianProduct(() => tf.square(tf.matMul(images, w)), [images]);
      return tf.sum(tf.square(g!));
    }, [w]);
    const p = [8, 18],
      norm = 13;
    expect(value.arraySync()).toBe(4 * norm * (8 * 8 + 18 * 18));
    const expected = [0, 1].map((j) => 8 * norm * (p[0]! * [1, 2][j]! + p[1]! * [3, 4][j]!) + 8 * (p[0]! ** 2 + p[1]! ** 2) * [2, 3][j]!);
    expect(dw!.dataSync()).toBeAllclose(expected);
  });
});

describe('what is not asked for', () => {
  const conv = (x: tf.Tensor, w: tf.Tensor) => tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, 1, 'same');
  const x = tf.ones([1, 6, 6, 2]);
  const [first, second, third] = [tf.ones([3, 3, 2, 2]), tf.ones([3, 3, 2, 2]), tf.ones([3, 3, 2, 2])];

  it('runs no filter gradient for frozen weights, and no input gradient below the first trained one', async () => {
    const profile = await tf.profile(() => gradients(() => tf.sum(conv(conv(conv(x, first), second), third)), [second])[0]!);
    const names = profile.kernels.map((kernel) => kernel.name);
    expect(names.filter((name) => name === 'Conv2DBackpropFilter')).toHaveLength(1);
    expect(names.filter((name) => name === 'Conv2DBackpropInput')).toHaveLength(1);
  });

  it('saves nothing of a frozen network that no wanted gradient passes', () => {
    gradients(() => {
      const before = tf.memory().numTensors;
      const features = conv(tf.sigmoid(x), first);
      expect(tf.memory().numTensors - before).toBe(2);
      return tf.sum(conv(features, second));
    }, [second]);
  });

  it('saves the input of a convolution for a trained filter only', () => {
    const freed = (xs: tf.Tensor[], start: tf.Tensor) => {
      let result = 0;
      gradients(() => {
        const h = tf.neg(start);
        const y = conv(h, second);
        const before = tf.memory().numDataBuffers;
        h.dispose();
        result = before - tf.memory().numDataBuffers;
        return tf.sum(y);
      }, xs);
      return result;
    };
    expect(freed([x], x)).toBe(1);
    expect(freed([x, second], x)).toBe(0);
  });

  it('frees activations while it walks back', async () => {
    let forward = 0;
    const chain = () => {
      let h = x;
      for (let i = 0; i < 10; i++) h = tf.tidy(() => tf.sigmoid(tf.sin(h)));
      forward = tf.memory().numBytes;
      return tf.sum(h) as tf.Scalar;
    };
    /** What the way back adds to the memory, in activations. */
    const growth = async (run: () => tf.TensorContainer) => {
      const { kernels } = await tf.profile(() => void tf.dispose(run()) as never);
      return (Math.max(...kernels.map((kernel) => kernel.totalBytesSnapshot)) - forward) / (x.size * 4);
    };
    expect(await growth(() => gradients(chain, [x]))).toBeLessThan(6);
    expect(await growth(() => tf.grads(chain)([x]))).toBeGreaterThan(12);
  });
});

describe('stock gradient functions', () => {
  it('use the same rules and the repaired tape', () => {
    const x = tf.tensor1d([0.5, -1]);
    const [first] = tf.grads((a: tf.Tensor) => tf.sum(tf.exp(tf.leakyRelu(a, 0.5))))([x]) as [tf.Tensor];
    expect(first.dataSync()).toBeAllclose([Math.exp(0.5), 0.5 * Math.exp(-0.5)]);
    const second = tf.grad((a: tf.Tensor) => tf.sum(tf.grad((b: tf.Tensor) => tf.sum(tf.exp(b)))(a)))(x);
    expect(second.dataSync()).toBeAllclose([Math.exp(0.5), Math.exp(-1)]);
  });

  it('nest with ours', () => {
    const x = tf.tensor1d([0.5, -1]);
    const [second] = gradients(() => tf.sum(tf.grad((b: tf.Tensor) => tf.sum(tf.exp(b)))(x)), [x]);
    expect(second!.dataSync()).toBeAllclose([Math.exp(0.5), Math.exp(-1)]);
  });
});

describe('third order', () => {
  it('of x^4 and of exp', () => {
    const x = tf.scalar(1.5);
    const nth = (f: () => tf.Tensor, n: number): tf.Tensor => (n === 0 ? f() : gradients(() => nth(f, n - 1), [x])[0]!);
    expect(nth(() => tf.square(tf.square(x)), 3).arraySync()).toBeCloseTo(24 * 1.5, 4);
    expect(nth(() => tf.exp(x), 3).arraySync()).toBeCloseTo(Math.exp(1.5), 4);
  });
});

describe('installAutodiff', () => {
  it('puts its rules and kernels back after an engine brought its own', () => {
    const [rule, kernel] = [tf.getGradient('Sum'), tf.getKernel('AvgPoolGrad', 'cpu')];
    tf.registerGradient({ kernelName: 'Add', gradFunc: () => ({}) });
    tf.unregisterKernel('AvgPoolGrad', 'cpu');
    tf.registerKernel({ ...kernel!, kernelFunc: () => [] });
    const warn = vi.spyOn(console, 'warn');
    installAutodiff();
    installAutodiff();
    expect(warn).not.toHaveBeenCalled();
    expect(tf.getGradient('Sum')).toBe(rule);
    expect(gradients(() => tf.add(tf.scalar(1), x), [x])[0]!.arraySync()).toBe(1);
    expect(tf.getKernel('AvgPoolGrad', 'cpu')!.kernelFunc.toString()).toBe(kernel!.kernelFunc.toString());
  });
  const x = tf.scalar(2);
});

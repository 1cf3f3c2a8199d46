import { expect } from 'vitest';

interface Tolerance {
  rtol?: number;
  atol?: number;
}

declare module 'vitest' {
  interface Matchers<T = any> {
    /** |actual - expected| <= atol + rtol*|expected|, element by element. */
    toBeAllclose(expected: ArrayLike<number>, tolerance?: Tolerance): T;
    /** ||actual - expected||_2 <= rtol * ||expected||_2. */
    toBeCloseInL2(expected: ArrayLike<number>, rtol: number): T;
  }
}

expect.extend({
  toBeAllclose(actual: ArrayLike<number>, expected: ArrayLike<number>, { rtol = 1e-5, atol = 1e-6 }: Tolerance = {}) {
    if (actual.length !== expected.length) {
      return { pass: false, message: () => `length: expected ${expected.length}, got ${actual.length}` };
    }
    let worst = -1;
    let excess = 0;
    for (let i = 0; i < actual.length; i++) {
      const over = Math.abs(actual[i]! - expected[i]!) - (atol + rtol * Math.abs(expected[i]!));
      if (!(over <= 0) && !(over <= excess)) [worst, excess] = [i, over];
    }
    return {
      pass: worst < 0,
      message: () => `element ${worst} of ${actual.length}: expected ${expected[worst]}, got ${actual[worst]} (rtol ${rtol}, atol ${atol})`,
    };
  },
  toBeCloseInL2(actual: ArrayLike<number>, expected: ArrayLike<number>, rtol: number) {
    let difference = 0;
    let norm = 0;
    for (let i = 0; i < expected.length; i++) {
      difference += (actual[i]! - expected[i]!) ** 2;
      norm += expected[i]! ** 2;
    }
    const error = Math.sqrt(difference) / Math.max(Math.sqrt(norm), 1e-12);
    return {
      pass: actual.length === expected.length && error <= rtol,
      message: () =>
        `relative L2 error ${error.toExponential(2)} of ${expected.length} values, allowed ${rtol} (got ${actual.length} values)`,
    };
  },
});

/** Where the time of a step goes, by kernel. */
import * as tf from '@tensorflow/tfjs-core';

/** Prints the milliseconds and calls of the `rows` most expensive kernels that `f` runs, each without the kernels inside it. */
export function profile(f: () => void, rows = 12): void {
  const engine = tf.engine() as unknown as { runKernelFunc(kernel: { kernelName?: string }): unknown };
  const original = engine.runKernelFunc.bind(engine);
  const totals = new Map<string, { milliseconds: number; calls: number }>();
  const nested: number[] = [];
  engine.runKernelFunc = (kernel) => {
    nested.push(0);
    const start = performance.now();
    const result = original(kernel);
    const elapsed = performance.now() - start;
    const own = elapsed - nested.pop()!;
    if (nested.length > 0) nested[nested.length - 1]! += elapsed;
    const entry = totals.get(kernel.kernelName ?? '?') ?? { milliseconds: 0, calls: 0 };
    totals.set(kernel.kernelName ?? '?', { milliseconds: entry.milliseconds + own, calls: entry.calls + 1 });
    return result;
  };
  const start = performance.now();
  f();
  const whole = performance.now() - start;
  engine.runKernelFunc = original;
  for (const [name, { milliseconds, calls }] of [...totals].sort(([, a], [, b]) => b.milliseconds - a.milliseconds).slice(0, rows))
    console.log(`  ${name.padEnd(34)}${milliseconds.toFixed(1).padStart(8)} ms ${String(calls).padStart(6)} calls`);
  const kernels = [...totals.values()].reduce((sum, entry) => sum + entry.milliseconds, 0);
  console.log(`  ${'outside kernels'.padEnd(34)}${(whole - kernels).toFixed(1).padStart(8)} ms of ${whole.toFixed(1)}`);
}

/** Where the time of a step goes, by kernel. */
import { observeKernels, type Kernel } from './kernels.js';

/** A convolution with its shapes; the name alone of other kernels. */
function shaped({ kernelName = '?', inputs = {}, attrs = {} }: Kernel): string {
  if (!/Conv|MatMul/.test(kernelName)) return kernelName;
  const { strides, filterShape } = attrs as { strides?: unknown; filterShape?: unknown };
  const shapes = Object.values(inputs).map((input) => input?.shape.join('x') ?? '-');
  return `${kernelName} ${shapes.join(' ')}${filterShape ? ` ${String(filterShape)}` : ''}${strides ? ` /${String(strides)}` : ''}`;
}

/**
 * Prints the milliseconds and calls of the `rows` most expensive kernels that `f` runs, each without the kernels inside it;
 * with `shapes`, convolutions and products of matrices of different shapes apart.
 */
export function profile(f: () => void, rows = 12, { shapes = false } = {}): void {
  const totals = new Map<string, { milliseconds: number; calls: number }>();
  const nested: number[] = [];
  const start = performance.now();
  observeKernels(f, (kernel, run) => {
    nested.push(0);
    const begin = performance.now();
    const result = run();
    const elapsed = performance.now() - begin;
    const own = elapsed - nested.pop()!;
    if (nested.length > 0) nested[nested.length - 1]! += elapsed;
    const name = shapes ? shaped(kernel) : (kernel.kernelName ?? '?');
    const entry = totals.get(name) ?? { milliseconds: 0, calls: 0 };
    totals.set(name, { milliseconds: entry.milliseconds + own, calls: entry.calls + 1 });
    return result;
  });
  const whole = performance.now() - start;
  for (const [name, { milliseconds, calls }] of [...totals].sort(([, a], [, b]) => b.milliseconds - a.milliseconds).slice(0, rows))
    console.log(`  ${name.padEnd(shapes ? 72 : 34)}${milliseconds.toFixed(1).padStart(8)} ms ${String(calls).padStart(6)} calls`);
  const kernels = [...totals.values()].reduce((sum, entry) => sum + entry.milliseconds, 0);
  console.log(`  ${'outside kernels'.padEnd(34)}${(whole - kernels).toFixed(1).padStart(8)} ms of ${whole.toFixed(1)}`);
  const operations = [...totals.values()].reduce((sum, { calls }) => sum + calls, 0);
  console.log(`  operations: ${operations}, ${(((whole - kernels) / operations) * 1000).toFixed(1)} µs each outside kernels`);
}

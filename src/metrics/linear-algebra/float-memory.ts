/**
 * Float64 vectors in one WebAssembly memory, and how rows are laid out in them for `multiplyPanels`.
 */
import { kernels, PANEL, wasmMemory, type Kernels } from './kernels.js';

/** A part of a WebAssembly memory, zero at first. */
export interface FloatVector {
  /** In bytes; a multiple of 64. */
  readonly address: number;
  readonly values: Float64Array;
}

const ALIGNED = 8;

/** `count` rounded up to a multiple of `step`. */
export const roundUp = (count: number, step: number): number => Math.ceil(count / step) * step;

/** Vectors of these lengths in a memory of their own, which lives as long as they do, and the kernels that reach it. */
export function floatMemory<const L extends readonly number[]>(
  ...lengths: L
): { kernels: Kernels; vectors: { [K in keyof L]: FloatVector } } {
  const bytes = lengths.map((length) => roundUp(length, ALIGNED) * 8);
  const memory = wasmMemory(bytes.reduce((a, b) => a + b, 0));
  let address = 0;
  const vectors = lengths.map((length, i) => {
    const vector = { address, values: new Float64Array(memory.buffer, address, length) };
    address += bytes[i]!;
    return vector;
  });
  return { kernels: kernels(memory), vectors: vectors as { [K in keyof L]: FloatVector } };
}

/** Row `row` of `[count, width]` into panels `[count / 4, width, 4]`. */
export function packRow(values: ArrayLike<number>, panels: Float64Array, row: number): void {
  const width = values.length;
  let at = Math.floor(row / PANEL) * PANEL * width + (row % PANEL);
  for (let k = 0; k < width; k++, at += PANEL) panels[at] = values[k]!;
}

/** Columns of `rows`, `count` rows of `stride` values from value `at` on, `width` of them (a multiple of four), into panels `[width / 4, count, 4]`. */
export function packColumns(rows: Float64Array, at: number, stride: number, count: number, width: number, panels: Float64Array): void {
  for (let p = 0, to = 0; p < width; p += PANEL)
    for (let k = 0, from = at + p; k < count; k++, from += stride) for (let c = 0; c < PANEL; c++) panels[to++] = rows[from + c]!;
}

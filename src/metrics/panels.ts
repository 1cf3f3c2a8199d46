/**
 * Products of matrices in float64 from panels `[rows, 4]`: the innermost loop keeps 4 × 4 sums in registers.
 */

/** Columns of a panel. */
export const PANEL = 4;

/** The 4×4 block out[at…] += AᵀB of two panels of `length` values, A from `a` of `left` and B from `b` of `right`. */
export function multiplyPanels(
  left: Float64Array,
  a: number,
  right: Float64Array,
  b: number,
  length: number,
  out: Float64Array,
  at: number,
  stride: number,
): void {
  let s00 = 0;
  let s01 = 0;
  let s02 = 0;
  let s03 = 0;
  let s10 = 0;
  let s11 = 0;
  let s12 = 0;
  let s13 = 0;
  let s20 = 0;
  let s21 = 0;
  let s22 = 0;
  let s23 = 0;
  let s30 = 0;
  let s31 = 0;
  let s32 = 0;
  let s33 = 0;
  for (let k = 0; k < length; k += PANEL) {
    const a0 = left[a + k]!;
    const a1 = left[a + k + 1]!;
    const a2 = left[a + k + 2]!;
    const a3 = left[a + k + 3]!;
    const b0 = right[b + k]!;
    const b1 = right[b + k + 1]!;
    const b2 = right[b + k + 2]!;
    const b3 = right[b + k + 3]!;
    s00 += a0 * b0;
    s01 += a0 * b1;
    s02 += a0 * b2;
    s03 += a0 * b3;
    s10 += a1 * b0;
    s11 += a1 * b1;
    s12 += a1 * b2;
    s13 += a1 * b3;
    s20 += a2 * b0;
    s21 += a2 * b1;
    s22 += a2 * b2;
    s23 += a2 * b3;
    s30 += a3 * b0;
    s31 += a3 * b1;
    s32 += a3 * b2;
    s33 += a3 * b3;
  }
  out[at]! += s00;
  out[at + 1]! += s01;
  out[at + 2]! += s02;
  out[at + 3]! += s03;
  out[at + stride]! += s10;
  out[at + stride + 1]! += s11;
  out[at + stride + 2]! += s12;
  out[at + stride + 3]! += s13;
  out[at + 2 * stride]! += s20;
  out[at + 2 * stride + 1]! += s21;
  out[at + 2 * stride + 2]! += s22;
  out[at + 2 * stride + 3]! += s23;
  out[at + 3 * stride]! += s30;
  out[at + 3 * stride + 1]! += s31;
  out[at + 3 * stride + 2]! += s32;
  out[at + 3 * stride + 3]! += s33;
}

/** Rows `[count, length]` to panels `[count / 4, length, 4]`; rows beyond the last are zero. */
function toPanels(rows: readonly Float64Array[], length: number): Float64Array {
  const panels = new Float64Array(Math.ceil(rows.length / PANEL) * PANEL * length);
  rows.forEach((row, r) => {
    const at = Math.floor(r / PANEL) * PANEL * length + (r % PANEL);
    for (let k = 0; k < length; k++) panels[at + k * PANEL] = row[k]!;
  });
  return panels;
}

/** A Bᵀ: the dot product of every row of `a` with every row of `b`, as rows. */
export function dotRows(a: readonly Float64Array[], b: readonly Float64Array[]): Float64Array[] {
  const length = a[0]?.length ?? 0;
  const [left, right] = [toPanels(a, length), toPanels(b, length)];
  const width = Math.ceil(b.length / PANEL) * PANEL;
  const block = new Float64Array(PANEL * width);
  return Array.from({ length: Math.ceil(a.length / PANEL) }, (_, i) => {
    block.fill(0);
    for (let j = 0; j < width; j += PANEL) multiplyPanels(left, i * PANEL * length, right, j * length, length * PANEL, block, j, width);
    const rows = Math.min(PANEL, a.length - i * PANEL);
    return Array.from({ length: rows }, (_, r) => block.slice(r * width, r * width + b.length));
  }).flat();
}

/**
 * Small matrices of augmentations, as lists of rows: 3x3 for places in the plane, 4x4 for colours.
 */

/** Rows. */
export type Matrix = readonly (readonly number[])[];

/** The matrix product. */
export const multiply = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => b[0]!.map((_, column) => row.reduce((sum, value, k) => sum + value * b[k]![column]!, 0)));

/** The identity of `size`. */
export const identity = (size: number): Matrix =>
  Array.from({ length: size }, (_, i) => Array.from({ length: size }, (_, j) => (i === j ? 1 : 0)));

/** Moves places by (x, y); x goes right, y down. */
export const translation = (x: number, y: number): Matrix => [
  [1, 0, x],
  [0, 1, y],
  [0, 0, 1],
];

export const scaling = (x: number, y: number): Matrix => [
  [x, 0, 0],
  [0, y, 0],
  [0, 0, 1],
];

/** Turns the x axis towards the y axis. */
export const rotation = (angle: number): Matrix => [
  [Math.cos(angle), -Math.sin(angle), 0],
  [Math.sin(angle), Math.cos(angle), 0],
  [0, 0, 1],
];

/** Turns by quarters, exactly. */
export const quarterTurn = (quarters: number): Matrix => {
  const [cos, sin] = [
    [1, 0],
    [0, 1],
    [-1, 0],
    [0, -1],
  ][quarters & 3]! as [number, number];
  return [
    [cos, 0 - sin, 0],
    [sin, cos, 0],
    [0, 0, 1],
  ];
};

/** Adds `amount` to every channel. */
export const brighten = (amount: number): Matrix => [
  [1, 0, 0, amount],
  [0, 1, 0, amount],
  [0, 0, 1, amount],
  [0, 0, 0, 1],
];

/** A 4x4 matrix that maps colours by `entry` of two channels. */
const colours = (entry: (same: boolean, row: number, column: number) => number): Matrix =>
  identity(4).map((line, row) => line.map((one, column) => (row === 3 || column === 3 ? one : entry(row === column, row, column))));

/** Multiplies every channel. */
export const scaleColours = (factor: number): Matrix => colours((same) => (same ? factor : 0));

/** Mirrors colours at the plane through 0 that is normal to the grey axis (1, 1, 1)/sqrt(3): x - 2 v (v·x). */
export const flipLuma: Matrix = colours((same) => (same ? 1 : 0) - 2 / 3);

/** Turns colours about the grey axis (Rodrigues). */
export const turnHue = (angle: number): Matrix => {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle) / Math.sqrt(3)];
  // The cross product with (1, 1, 1): +1 where the column precedes the row in the cycle, -1 where it follows it.
  return colours((same, row, column) => (1 - cos) / 3 + (same ? cos : (row - column + 3) % 3 === 1 ? sin : -sin));
};

/** Multiplies the distance from the grey axis. */
export const saturate = (factor: number): Matrix => colours((same) => (1 - factor) / 3 + (same ? factor : 0));

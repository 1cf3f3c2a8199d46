type Values = Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

/** `bytes` as unsigned values of `itemSize` bytes; moving those changes no bit, which floats do not promise. */
function valuesOf(bytes: Uint8Array, itemSize: number): Values {
  const { buffer, byteOffset, byteLength } = bytes;
  if (itemSize === 8) return new BigUint64Array(buffer, byteOffset, byteLength / 8);
  if (itemSize === 4) return new Uint32Array(buffer, byteOffset, byteLength / 4);
  if (itemSize === 2) return new Uint16Array(buffer, byteOffset, byteLength / 2);
  return bytes;
}

/**
 * The values of a strided view, row-major; the same bytes where they already are.
 * `bytes` begin with the view's first value; strides count values and are not negative; no axis is empty.
 */
export function gather(bytes: Uint8Array, itemSize: number, shape: readonly number[], stride: readonly number[]): Uint8Array {
  const axes = shape.map((size, axis) => ({ size, stride: stride[axis]! })).filter(({ size }) => size !== 1);
  let expected = 1;
  const contiguous = axes.toReversed().every((axis) => {
    const inOrder = axis.stride === expected;
    expected *= axis.size;
    return inOrder;
  });
  if (contiguous) return bytes;

  const from = valuesOf(bytes, itemSize);
  const out = new Uint8Array(itemSize * axes.reduce((a, { size }) => a * size, 1));
  const to = valuesOf(out, itemSize);
  const inner = axes.pop()!;
  const index = axes.map(() => 0);
  let at = 0;
  for (let written = 0; written < to.length;) {
    for (let i = 0; i < inner.size; i++) to[written++] = from[at + i * inner.stride]!;
    for (let axis = axes.length - 1; axis >= 0; axis--) {
      at += axes[axis]!.stride;
      if (++index[axis]! < axes[axis]!.size) break;
      at -= axes[axis]!.size * axes[axis]!.stride;
      index[axis] = 0;
    }
  }
  return out;
}

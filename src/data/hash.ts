/** The finaliser of MurmurHash3: a bijection of 32-bit integers that spreads each bit over all. Returns a signed integer. */
export function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}

/** A 32-bit key of non-negative safe integers; their order counts. */
export function hash(...values: number[]): number {
  let key = 0x9e3779b9;
  for (const value of values) key = mix(mix(key ^ value) + Math.floor(value / 2 ** 32) + 0x7f4a7c15);
  return key;
}

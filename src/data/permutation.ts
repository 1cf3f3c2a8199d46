import { hash, mix } from './hash.js';

/** Rounds of the network; four are the least that mixes both halves twice, eight leave no visible order in sets of a few images. */
const ROUNDS = 8;

/**
 * A random permutation of 0 … size-1 in constant memory, one for each `key`.
 *
 * A Feistel network on pairs (left, right) with left < a, right < b and a·b just above `size`: each round adds a hash of one half to
 * the other, which can be undone, so that the whole is a bijection. A result outside the set is permuted again until it falls inside
 * (cycle walking; Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
 *
 * @param size 1 … 2^32.
 * @param key non-negative safe integers, such as seed and epoch.
 * @returns a function from an index to its place; both in [0, size).
 */
export function permutation(size: number, ...key: number[]): (index: number) => number {
  const a = Math.ceil(Math.sqrt(size));
  const b = Math.ceil(size / a);
  const keys = Int32Array.from({ length: ROUNDS }, (_, round) => hash(...key, round));
  return (index) => {
    let place = index;
    do {
      let left = Math.floor(place / b);
      let right = place - left * b;
      for (let round = 0; round < ROUNDS; round += 2) {
        left = (left + (mix(right ^ keys[round]!) >>> 0)) % a;
        right = (right + (mix(left ^ keys[round + 1]!) >>> 0)) % b;
      }
      place = left * b + right;
    } while (place >= size);
    return place;
  };
}

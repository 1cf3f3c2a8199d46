/**
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
 *
 * The key is the seed, the upper half of the counter a hash of the stream's name, the lower half the number of a block of four words.
 * A stream is a sequence of words. A normal or uniform value takes one word (normals come in pairs from words 2k and 2k+1),
 * an integer takes two and starts at an even word. So the n-th value depends on seed, name and n alone,
 * and `normal(3)` followed by `normal(5)` gives what `normal(8)` gives.
 */
import type { RandomSource, RandomState, RandomStream } from './contracts/random.js';
import { ArgumentError } from './errors.js';

// ---------------------------------------------------------------------------------------------------------------------
// Philox4x32-10

/** Multipliers and key increments of the paper's table 2. */
const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;
const ROUNDS = 10;

const [M0_LOW, M0_HIGH, M1_LOW, M1_HIGH] = [M0 & 0xffff, M0 >>> 16, M1 & 0xffff, M1 >>> 16] as const;

/** Fills `out` with the blocks of the counters (first block + i, high, name low, name high); its length is a multiple of four. */
function fillBlocks(
  out: Uint32Array,
  length: number,
  block: number,
  high: number,
  name0: number,
  name1: number,
  key0: number,
  key1: number,
): void {
  for (let at = 0; at < length; at += 4, block++) {
    let c0 = block | 0;
    let c1 = high | 0;
    let c2 = name0;
    let c3 = name1;
    let k0 = key0;
    let k1 = key1;
    for (let round = 0; round < ROUNDS; round++) {
      // The upper halves of M0*c0 and M1*c2, from products of 16 bits.
      let low = c0 & 0xffff;
      let up = c0 >>> 16;
      let t = (Math.imul(low, M0_LOW) >>> 16) + (Math.imul(up, M0_LOW) >>> 0);
      let u = Math.imul(low, M0_HIGH) + (t & 0xffff);
      const high0 = Math.imul(up, M0_HIGH) + (t >>> 16) + (u >>> 16);
      low = c2 & 0xffff;
      up = c2 >>> 16;
      t = (Math.imul(low, M1_LOW) >>> 16) + (Math.imul(up, M1_LOW) >>> 0);
      u = Math.imul(low, M1_HIGH) + (t & 0xffff);
      const high1 = Math.imul(up, M1_HIGH) + (t >>> 16) + (u >>> 16);

      const low0 = Math.imul(M0, c0);
      c0 = high1 ^ c1 ^ k0;
      c1 = Math.imul(M1, c2);
      c2 = high0 ^ c3 ^ k1;
      c3 = low0;
      k0 = (k0 + W0) | 0;
      k1 = (k1 + W1) | 0;
    }
    out[at] = c0;
    out[at + 1] = c1;
    out[at + 2] = c2;
    out[at + 3] = c3;
  }
}

/** One block of Philox4x32-10: four random words of a counter of four words and a key of two. */
export function philox4x32(counter: readonly [number, number, number, number], key: readonly [number, number]): Uint32Array {
  const out = new Uint32Array(4);
  fillBlocks(out, 4, counter[0], counter[1], counter[2], counter[3], key[0], key[1]);
  return out;
}

// ---------------------------------------------------------------------------------------------------------------------
// Values from words

const CHUNK = 4096;
const words = new Uint32Array(CHUNK);
const values = new Float32Array(CHUNK);

interface Address {
  key0: number;
  key1: number;
  name0: number;
  name1: number;
}

/** FNV-1a in 64 bits. */
function hash(text: string): [low: number, high: number] {
  let state = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) state = BigInt.asUintN(64, (state ^ BigInt(byte)) * 0x100000001b3n);
  return [Number(state & 0xffffffffn), Number(state >> 32n)];
}

function address(seed: number, name: string): Address {
  if (!Number.isSafeInteger(seed))
    throw new ArgumentError('E_VALUE', `seed: expected a whole number within 2^53, got ${seed}`, { help: 'give a seed such as 0' });
  const key = BigInt.asUintN(64, BigInt(seed));
  const [name0, name1] = hash(name);
  return { key0: Number(key & 0xffffffffn), key1: Number(key >> 32n), name0, name1 };
}

/** Calls `use(count, offset, at)` for chunks of the words from `position` on: `words[offset … offset + count)` belong to `out[at …)`. */
function eachChunk(length: number, position: number, a: Address, use: (count: number, offset: number, at: number) => void): void {
  for (let at = 0; at < length;) {
    const offset = (position + at) % 4;
    const block = (position + at - offset) / 4;
    const count = Math.min(CHUNK - offset, length - at);
    const needed = Math.ceil((offset + count) / 4) * 4;
    const low = block % 2 ** 32;
    const untilCarry = Math.min(needed, (2 ** 32 - low) * 4);
    fillBlocks(words, untilCarry, low, Math.floor(block / 2 ** 32), a.name0, a.name1, a.key0, a.key1);
    const taken = Math.min(count, untilCarry - offset);
    use(taken, offset, at);
    at += taken;
  }
}

/** Box-Muller: a pair of normals from words 2k and 2k+1, in float64. */
function fillNormal(out: Float32Array, position: number, a: Address): void {
  eachChunk(out.length, position, a, (count, offset, at) => {
    for (let i = offset & ~1; i < offset + count; i += 2) {
      // (w + 1/2) / 2^32 lies within (0, 1): no infinity; the tail ends at 6.7.
      const radius = Math.sqrt(-2 * Math.log((words[i]! + 0.5) * 2 ** -32));
      const angle = words[i + 1]! * (2 * Math.PI * 2 ** -32);
      values[i] = radius * Math.cos(angle);
      values[i + 1] = radius * Math.sin(angle);
    }
    out.set(values.subarray(offset, offset + count), at);
  });
}

function checkLength(length: number): void {
  if (!Number.isSafeInteger(length) || length < 0)
    throw new ArgumentError('E_VALUE', `length: expected a whole number, got ${length}`, { help: 'give the number of values' });
}

/**
 * Standard normal float32 values that depend on `(seed, index)` alone: the latent of image `index` of an evaluation, whatever the batch size.
 * A shorter length gives a prefix of a longer one. `index` is below 2^32.
 */
export function normalAt(seed: number, index: number, length: number): Float32Array {
  checkLength(length);
  if (!Number.isInteger(index) || index < 0 || index >= 2 ** 32)
    throw new ArgumentError('E_VALUE', `index: expected a whole number below 2^32, got ${index}`, { help: 'give the index of the image' });
  const out = new Float32Array(length);
  // The index is the upper word of the block number, so an image owns 2^32 blocks.
  fillNormal(out, index * 2 ** 34, address(seed, 'onestep/normalAt'));
  return out;
}

class PhiloxStream implements RandomStream {
  /** Words taken so far. */
  position = 0;

  constructor(private readonly address: Address) {}

  normal(length: number): Float32Array {
    checkLength(length);
    const out = new Float32Array(length);
    fillNormal(out, this.position, this.address);
    this.position += length;
    return out;
  }

  uniform(length: number): Float32Array {
    checkLength(length);
    const out = new Float32Array(length);
    eachChunk(length, this.position, this.address, (count, offset, at) => {
      for (let i = 0; i < count; i++) out[at + i] = (words[offset + i]! >>> 8) * 2 ** -24;
    });
    this.position += length;
    return out;
  }

  /** `bound` is at most 2^32. The bias is at most bound / 2^53. */
  integers(length: number, bound: number): Uint32Array {
    checkLength(length);
    if (!Number.isInteger(bound) || bound < 1 || bound > 2 ** 32)
      throw new ArgumentError('E_VALUE', `bound: expected a whole number of 1 to 2^32, got ${bound}`, {
        help: 'give the number of choices',
      });
    this.position += this.position % 2;
    const out = new Uint32Array(length);
    eachChunk(2 * length, this.position, this.address, (count, offset, at) => {
      for (let i = 0; i < count; i += 2) {
        const fraction = (words[offset + i]! * 2 ** 21 + (words[offset + i + 1]! >>> 11)) * 2 ** -53;
        out[(at + i) / 2] = Math.floor(fraction * bound);
      }
    });
    this.position += 2 * length;
    return out;
  }
}

/**
 * The random source of a run: independent streams by name, restored exactly from their positions.
 *
 * `seed` is a whole number within ±2^53. Values agree bit for bit on one version of Node; between versions the engine's `Math.log`,
 * `cos` and `sin` may move a normal value by one float32 step.
 */
export class PhiloxRandom implements RandomSource {
  readonly #streams = new Map<string, PhiloxStream>();

  constructor(readonly seed: number) {
    address(seed, '');
  }

  stream(name: string): RandomStream {
    let stream = this.#streams.get(name);
    if (!stream) this.#streams.set(name, (stream = new PhiloxStream(address(this.seed, name))));
    return stream;
  }

  state(): RandomState {
    return { seed: this.seed, counters: Object.fromEntries([...this.#streams].map(([name, { position }]) => [name, position])) };
  }

  /** Puts every stream, also those already handed out, where `state` says; streams it does not name start anew. */
  restore(state: RandomState): void {
    if (state.seed !== this.seed)
      throw new ArgumentError('E_VALUE', `random state: expected seed ${this.seed}, got ${state.seed}`, {
        help: 'go on with the seed that the run was started with',
      });
    for (const [name, position] of Object.entries(state.counters))
      if (!Number.isSafeInteger(position) || position < 0)
        throw new ArgumentError('E_VALUE', `random state: stream ${name}: expected a position, got ${position}`, {
          help: 'the checkpoint is damaged; use an older one',
        });
    for (const stream of this.#streams.values()) stream.position = 0;
    for (const [name, position] of Object.entries(state.counters)) (this.stream(name) as PhiloxStream).position = position;
  }
}

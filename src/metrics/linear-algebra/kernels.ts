/**
 * The three innermost loops of float64 linear algebra as a WebAssembly module of two lanes, put together here instruction by instruction:
 * a sum of products takes a third of the time it takes in JavaScript, and the same bits come out on every machine, since nothing is fused.
 *
 * Expressions are lists of bytes in the order of WebAssembly's stack: operands first, the operation last
 * (WebAssembly Core Specification 2.0, section 5.4).
 */

/** Rows of a tile, and columns: 16 sums in 8 registers of two lanes. */
export const PANEL = 4;

type Bytes = readonly number[];

// ---------------------------------------------------------------------------------------------------------------------
// Instructions

/** An unsigned number in groups of seven bits, lowest first. */
function leb128(value: number): Bytes {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}

const I32 = 0x7f;
const V128 = 0x7b;

const get = (local: number): Bytes => [0x20, ...leb128(local)];
const set = (local: number, value: Bytes): Bytes => [...value, 0x21, ...leb128(local)];
/** Below 64, so that one byte holds it and its sign. */
const constant = (value: number): Bytes => [0x41, value];
const add = (a: Bytes, b: Bytes): Bytes => [...a, ...b, 0x6a];
const times = (a: Bytes, b: Bytes): Bytes => [...a, ...b, 0x6c];
const advance = (local: number, by: Bytes): Bytes => set(local, add(get(local), by));

const simd = (operation: number): Bytes => [0xfd, ...leb128(operation)];
const memory = (offset: number): Bytes => [3, ...leb128(offset)];
const load = (address: Bytes, offset = 0): Bytes => [...address, ...simd(0x00), ...memory(offset)];
const loadTwice = (address: Bytes, offset = 0): Bytes => [...address, ...simd(0x0a), ...memory(offset)];
const store = (address: Bytes, value: Bytes, offset = 0): Bytes => [...address, ...value, ...simd(0x0b), ...memory(offset)];
const zeros: Bytes = [...simd(0x0c), ...new Array<number>(16).fill(0)];
const plus = (a: Bytes, b: Bytes): Bytes => [...a, ...b, ...simd(0xf0)];
const product = (a: Bytes, b: Bytes): Bytes => [...a, ...b, ...simd(0xf2)];
const lane = (value: Bytes, index: number): Bytes => [...value, ...simd(0x21), index];
const scalarPlus = (a: Bytes, b: Bytes): Bytes => [...a, ...b, 0xa0];
const scalarStore = (address: Bytes, value: Bytes): Bytes => [...address, ...value, 0x39, ...memory(0)];

/** Runs `body` and counts `counter` down until it is 0; at least once. */
const repeat = (counter: number, ...body: Bytes[]): Bytes => [
  ...[0x03, 0x40],
  ...body.flat(),
  ...[...get(counter), ...constant(1), 0x6b, 0x22, ...leb128(counter)],
  ...[0x0d, 0x00, 0x0b],
];

// ---------------------------------------------------------------------------------------------------------------------
// Functions: addresses and strides in bytes, every count 1 or more

interface Function {
  name: string;
  /** Number of parameters, all i32. */
  parameters: number;
  /** Types of the locals after them. */
  locals: number[];
  body: Bytes[];
}

const range = (count: number) => Array.from({ length: count }, (_, i) => i);

/** C += AᵀB for panels: c[4i + r, 4j + s] += Σ_k a[i, k, r] b[j, k, s]. */
function multiplyPanels(): Function {
  const [a, b, c, rows, columns, depth, strideA, strideB, strideC] = range(9) as [number, number, number, number, number, number, number, number, number]; // prettier-ignore
  const [i, k, x, y, atA, atC] = [9, 10, 11, 12, 13, 14] as const;
  const sum = (r: number, half: number) => 15 + 2 * r + half;
  const [b0, b1, ar] = [23, 24, 25] as const;
  const tile = range(PANEL);
  return {
    name: 'multiplyPanels',
    parameters: 9,
    locals: [...new Array<number>(6).fill(I32), ...new Array<number>(11).fill(V128)],
    body: [
      repeat(
        columns,
        set(atA, get(a)),
        set(atC, get(c)),
        set(i, get(rows)),
        repeat(
          i,
          set(x, get(atA)),
          set(y, get(b)),
          set(k, get(depth)),
          ...tile.flatMap((r) => [set(sum(r, 0), zeros), set(sum(r, 1), zeros)]),
          repeat(
            k,
            set(b0, load(get(y))),
            set(b1, load(get(y), 16)),
            ...tile.flatMap((r) => [
              set(ar, loadTwice(get(x), 8 * r)),
              set(sum(r, 0), plus(get(sum(r, 0)), product(get(ar), get(b0)))),
              set(sum(r, 1), plus(get(sum(r, 1)), product(get(ar), get(b1)))),
            ]),
            advance(x, constant(32)),
            advance(y, constant(32)),
          ),
          set(x, get(atC)),
          ...tile.flatMap((r) => [
            store(get(x), plus(load(get(x)), get(sum(r, 0)))),
            store(get(x), plus(load(get(x), 16), get(sum(r, 1))), 16),
            advance(x, get(strideC)),
          ]),
          advance(atA, get(strideA)),
          set(atC, get(x)),
        ),
        advance(b, get(strideB)),
        advance(c, constant(32)),
      ),
    ],
  };
}

/** y = A x: `rows` rows of `columns` values, 8 at a time; x and y are vectors. */
function multiplyVector(): Function {
  const [a, x, y, rows, columns, stride] = [0, 1, 2, 3, 4, 5] as const;
  const [j, at, atX] = [6, 7, 8] as const;
  const sum = (quarter: number) => 9 + quarter;
  const quarters = range(4);
  const total = plus(plus(get(sum(0)), get(sum(1))), plus(get(sum(2)), get(sum(3))));
  return {
    name: 'multiplyVector',
    parameters: 6,
    locals: [I32, I32, I32, V128, V128, V128, V128],
    body: [
      repeat(
        rows,
        set(at, get(a)),
        set(atX, get(x)),
        set(j, get(columns)),
        ...quarters.map((q) => set(sum(q), zeros)),
        repeat(
          j,
          ...quarters.map((q) => set(sum(q), plus(get(sum(q)), product(load(get(at), 16 * q), load(get(atX), 16 * q))))),
          advance(at, constant(32)),
          advance(at, constant(32)),
          advance(atX, constant(32)),
          advance(atX, constant(32)),
        ),
        set(sum(0), total),
        scalarStore(get(y), scalarPlus(lane(get(sum(0)), 0), lane(get(sum(0)), 1))),
        advance(a, get(stride)),
        advance(y, constant(8)),
      ),
    ],
  };
}

/** y += Aᵀ x: `rows` groups of four rows of `columns` pairs of values. */
function multiplyVectorTransposed(): Function {
  const [a, x, y, rows, columns, stride] = [0, 1, 2, 3, 4, 5] as const;
  const [j, atY] = [6, 7] as const;
  const row = (r: number) => 8 + r;
  const factor = (r: number) => 12 + r;
  const four = range(4);
  return {
    name: 'multiplyVectorTransposed',
    parameters: 6,
    locals: [...new Array<number>(6).fill(I32), ...new Array<number>(4).fill(V128)],
    body: [
      repeat(
        rows,
        ...four.flatMap((r) => [set(row(r), add(get(a), times(constant(r), get(stride)))), set(factor(r), loadTwice(get(x), 8 * r))]),
        set(atY, get(y)),
        set(j, get(columns)),
        repeat(
          j,
          store(
            get(atY),
            four.reduce((sum, r) => plus(sum, product(get(factor(r)), load(get(row(r))))), load(get(atY))),
          ),
          ...four.map((r) => advance(row(r), constant(16))),
          advance(atY, constant(16)),
        ),
        advance(a, times(constant(4), get(stride))),
        advance(x, constant(32)),
      ),
    ],
  };
}

// ---------------------------------------------------------------------------------------------------------------------
// Module

const vector = (items: readonly Bytes[]): Bytes => [...leb128(items.length), ...items.flat()];
const section = (id: number, content: Bytes): Bytes => [id, ...leb128(content.length), ...content];
const text = (value: string): Bytes => vector([...Buffer.from(value)].map((byte) => [byte]));

function moduleBytes(functions: readonly Function[]): Uint8Array {
  const bodies = functions.map(({ locals, body }) => {
    const code = [...vector(locals.map((type) => [1, type])), ...body.flat(), 0x0b];
    return [...leb128(code.length), ...code];
  });
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, vector(functions.map(({ parameters }) => [0x60, ...vector(new Array<Bytes>(parameters).fill([I32])), 0]))),
    ...section(2, vector([[...text('js'), ...text('memory'), 2, 0, 1]])),
    ...section(3, vector(functions.map((_, index) => [index]))),
    ...section(7, vector(functions.map(({ name }, index) => [...text(name), 0, index]))),
    ...section(10, vector(bodies)),
  ]);
}

type Numbers<N extends number, T extends number[] = []> = T['length'] extends N ? T : Numbers<N, [...T, number]>;

/** The compiled functions over one memory; arguments are byte addresses, counts and strides in bytes. */
export interface Kernels {
  /** a, b, c, panels of A, panels of B, depth, stride of A's panels, of B's, of C's rows. */
  multiplyPanels(...numbers: Numbers<9>): void;
  /** a, x, y, rows, groups of eight columns, stride. */
  multiplyVector(...numbers: Numbers<6>): void;
  /** a, x, y, groups of four rows, pairs of columns, stride. */
  multiplyVectorTransposed(...numbers: Numbers<6>): void;
}

/** A memory of WebAssembly, `buffer.byteLength` bytes of zeros. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

/** What is used of WebAssembly; Node's types leave it to those of browsers. */
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: {
    Memory: new (pages: { initial: number }) => WasmMemory;
    Module: new (bytes: Uint8Array) => object;
    Instance: new (module: object, imports: object) => { exports: unknown };
  };
};

const PAGE_BYTES = 2 ** 16;

/** A memory of at least `bytes`. */
export const wasmMemory = (bytes: number): WasmMemory => new WebAssembly.Memory({ initial: Math.max(1, Math.ceil(bytes / PAGE_BYTES)) });

let compiled: object | undefined;

/** The functions over `memory`; compiled once a process. */
export function kernels(memory: WasmMemory): Kernels {
  compiled ??= new WebAssembly.Module(moduleBytes([multiplyPanels(), multiplyVector(), multiplyVectorTransposed()]));
  return new WebAssembly.Instance(compiled, { js: { memory } }).exports as Kernels;
}

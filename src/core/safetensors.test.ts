import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OnestepError } from './errors.js';
import { parseSafetensors, readSafetensors, writeSafetensors, type TensorToWrite } from './safetensors.js';
import { float32ToBfloat16, float32ToHalf, halfToFloat32 } from './tensor-file.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'onestep-safetensors-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A file of a header (as JSON text or object) and data. */
function fileOf(header: unknown, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}
const f32 = (begin: number, end: number, shape = [(end - begin) / 4]) => ({ dtype: 'F32', shape, data_offsets: [begin, end] });

function expectRefused(bytes: Uint8Array, code: string | RegExp, message: RegExp): void {
  let error: unknown;
  try {
    parseSafetensors(bytes, 'bad.safetensors');
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(OnestepError);
  expect(error).toMatchObject({ code: expect.stringMatching(code), message: expect.stringMatching(message), help: expect.any(String) });
  expect((error as Error).message).toContain('bad.safetensors');
}

describe('reading', () => {
  it('reads every dtype, and each as float32', async () => {
    const parts: [string, ArrayBufferView, number[]][] = [
      ['F64', Float64Array.of(0.5, -2), [0.5, -2]],
      ['I64', BigInt64Array.of(-3n, 2n ** 40n), [-3, 2 ** 40]],
      ['U64', BigUint64Array.of(3n), [3]],
      ['F32', Float32Array.of(1.25), [1.25]],
      ['I32', Int32Array.of(-7), [-7]],
      ['U32', Uint32Array.of(4e9), [4e9]],
      ['F16', Uint16Array.of(0x3c00, 0xc000, 0x0001), [1, -2, 2 ** -24]],
      ['BF16', Uint16Array.of(0x3f80, 0xc040), [1, -3]],
      ['I16', Int16Array.of(-9), [-9]],
      ['U16', Uint16Array.of(65535), [65535]],
      ['I8', Int8Array.of(-1), [-1]],
      ['U8', Uint8Array.of(200), [200]],
      ['BOOL', Uint8Array.of(1, 0), [1, 0]],
    ];
    const header: Record<string, unknown> = { __metadata__: { a: 'b' } };
    let at = 0;
    for (const [dtype, data, values] of parts) {
      header[`t.${dtype}`] = { dtype, shape: [values.length], data_offsets: [at, at + data.byteLength] };
      at += data.byteLength;
    }
    const path = join(directory, 'all.safetensors');
    writeFileSync(path, fileOf(header, Buffer.concat(parts.map(([, d]) => new Uint8Array(d.buffer, d.byteOffset, d.byteLength)))));
    for (const file of [await readSafetensors(path), parseSafetensors(readFileSync(path))]) {
      expect(file.metadata).toEqual({ a: 'b' });
      expect([...file.tensors.keys()]).toEqual(parts.map(([dtype]) => `t.${dtype}`));
      for (const [dtype, data, values] of parts) {
        expect(await file.read(`t.${dtype}`)).toEqual(data);
        expect([...(await file.readAsFloat32(`t.${dtype}`))]).toEqual(values);
      }
    }
  });

  it('accepts scalars, empty tensors, padding and an empty file of no tensors', async () => {
    const bytes = fileOf(`{"s":${JSON.stringify(f32(0, 4, []))},"e":${JSON.stringify(f32(4, 4, [0, 3]))}}   `, new Uint8Array(4));
    const file = parseSafetensors(bytes);
    expect([...(await file.readAsFloat32('s'))]).toEqual([0]);
    expect(await file.readAsFloat32('e')).toHaveLength(0);
    expect(parseSafetensors(fileOf('{}')).tensors.size).toBe(0);
  });

  it('names an absent tensor and an absent file', async () => {
    const file = parseSafetensors(fileOf({ here: f32(0, 4) }, new Uint8Array(4)));
    await expect(file.read('there')).rejects.toMatchObject({
      code: 'E_WEIGHTS_MISSING',
      message: expect.stringMatching(/there.*\nhelp: .*here/s),
    });
    await expect(readSafetensors(join(directory, 'absent'))).rejects.toMatchObject({ name: 'FileError', code: 'E_FILE_ABSENT' });
    await expect(readSafetensors(directory)).rejects.toMatchObject({ code: 'E_FILE_NOT_READABLE' });
  });

  it('refuses to read from a file that was written to since', async () => {
    const path = join(directory, 'changing.safetensors');
    writeFileSync(path, fileOf({ a: f32(0, 4) }, new Uint8Array(4)));
    const file = await readSafetensors(path);
    truncateSync(path, 20);
    await expect(file.read('a')).rejects.toMatchObject({ code: 'E_FILE_CHANGED', message: expect.stringContaining('tensor a') });
  });
});

describe('damaged headers', () => {
  const data = new Uint8Array(8);
  it.each([
    ['a length beyond the file', Uint8Array.of(200, 0, 0, 0, 0, 0, 0, 0, 1), 'E_FILE_TRUNCATED', /200 bytes, only 1/],
    ['a length beyond every file', new Uint8Array(64).fill(255), 'E_FILE_FORMAT', /18446744073709551615/],
    ['no JSON', fileOf('{"a":'), 'E_FILE_FORMAT', /not JSON/],
    ['invalid UTF-8', Buffer.concat([fileOf('').subarray(0, 0), Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 255)]), 'E_FILE_FORMAT', /not JSON/],
    ['an array', fileOf('[]'), 'E_FILE_FORMAT', /an object/],
    ['metadata that is no text', fileOf({ __metadata__: { a: 1 } }), 'E_FILE_FORMAT', /__metadata__/],
    ['an unknown dtype', fileOf({ a: { dtype: 'F4', shape: [], data_offsets: [0, 8] } }, data), 'E_FILE_FORMAT', /tensor a: .*dtype.*"F4"/],
    ['a dtype of the prototype', fileOf({ a: { dtype: 'toString', shape: [], data_offsets: [0, 8] } }, data), 'E_FILE_FORMAT', /dtype/],
    ['a negative shape', fileOf({ a: f32(0, 8, [-2, -1]) }, data), 'E_FILE_FORMAT', /tensor a: .*shape.*\[-2,-1\]/],
    ['a shape of other size', fileOf({ a: f32(0, 8, [3]) }, data), 'E_FILE_FORMAT', /tensor a: expected 12 bytes for F32 \[3\], found 8/],
    ['a shape that overflows', fileOf({ a: f32(0, 8, [2 ** 52, 2 ** 52]) }, data), 'E_FILE_FORMAT', /tensor a/],
    ['falling offsets', fileOf({ a: { dtype: 'F32', shape: [2], data_offsets: [8, 0] } }, data), 'E_FILE_FORMAT', /tensor a: .*\[8,0\]/],
    [
      'overlapping tensors',
      fileOf({ a: f32(0, 8), b: f32(4, 8) }, data),
      'E_FILE_FORMAT',
      /tensor b: expected its data at offset 8, found 4 \(a overlap|overlap/,
    ],
    ['a gap', fileOf({ a: f32(4, 8) }, data), 'E_FILE_FORMAT', /tensor a: .*gap/],
    ['data that ends early', fileOf({ a: f32(0, 12) }, data), 'E_FILE_TRUNCATED', /tensor a: expected \d+ bytes/],
    ['data that goes on', fileOf({ a: f32(0, 4) }, data), 'E_FILE_FORMAT', /expected \d+ bytes of file, found/],
    ['a claim of terabytes', fileOf({ a: f32(0, 4e12) }, data), 'E_FILE_TRUNCATED', /tensor a/],
    [
      'a name twice',
      fileOf(`{"a":${JSON.stringify(f32(0, 4))}, "\\u0061" : ${JSON.stringify(f32(4, 8))}}`, data),
      'E_FILE_FORMAT',
      /tensor or key a: expected once/,
    ],
    [
      'a key of a tensor twice',
      fileOf('{"a":{"dtype":"F32","shape":[2],"shape":[1],"data_offsets":[0,8]}}', data),
      'E_FILE_FORMAT',
      /key shape: expected once/,
    ],
  ])('%s', (_, bytes, code, message) => expectRefused(bytes, code, message));

  const entry = JSON.stringify(f32(0, 0));
  it.each([
    ['lists a hundred thousand deep', () => `{"a":${'['.repeat(1e5)}${']'.repeat(1e5)}}`, /at most 3 levels/],
    ['objects a hundred thousand deep', () => `${'{"a":'.repeat(1e5)}1${'}'.repeat(1e5)}`, /at most 3 levels/],
    ['millions of open brackets', () => '['.repeat(2e6), /at most 3 levels/],
    ['millions of lists', () => `{"a":[${'[],'.repeat(3e6)}[]]}`, /at most 50000 tensors/],
    [
      'more tensors than any network has',
      () => `{${Array.from({ length: 60_000 }, (_, i) => `"t${i}":${entry}`).join(',')}}`,
      /at most 50000/,
    ],
    ['a million axes', () => `{"a":{"dtype":"F32","shape":[${'1,'.repeat(1e6)}1],"data_offsets":[0,8]}}`, /of 1000001 axes, found 8/],
    ['a name of megabytes', () => `{"${'x'.repeat(5e6)}":1}`, /tensor x+…: expected an object, found 1/],
    ['a name that a terminal obeys', () => `{"\\u001b[2J":1}`, /tensor \\u001b\[2J: expected an object/],
    [
      'a size beyond every number',
      () => `{"a":{"dtype":"F32","shape":[1e400,0],"data_offsets":[0,0]}}`,
      /whole numbers, found \[Infinity,0\]/,
    ],
    ['an open text', () => `{"${'\\"'.repeat(1e6)}`, /not JSON/],
  ])('%s are refused within a second, in few words', (_, header, message) => {
    const bytes = fileOf(header());
    const started = process.cpuUsage();
    expectRefused(bytes, 'E_FILE_FORMAT', message);
    const { user, system } = process.cpuUsage(started);
    expect((user + system) / 1e6).toBeLessThan(1);
    expect(() => parseSafetensors(bytes)).toThrow(expect.objectContaining({ message: expect.stringMatching(/^[^]{0,600}$/) }));
  });

  it('names of the prototype are names like others', () => {
    const file = parseSafetensors(fileOf(`{"__proto__":${entry},"constructor":${entry}}`));
    expect([...file.tensors.keys()]).toEqual(['__proto__', 'constructor']);
    expect(Object.getPrototypeOf(file.metadata)).toBe(Object.prototype);
  });

  it('keys inside the metadata may equal tensor names', () => {
    const bytes = fileOf(`{"__metadata__":{"a":"a","b":"\\"a\\":"},"a":${JSON.stringify(f32(0, 8))}}`, data);
    expect(parseSafetensors(bytes).tensors.size).toBe(1);
  });
});

describe('writing', () => {
  it('aligns the data and puts F16 after F32', async () => {
    const path = join(directory, 'aligned.safetensors');
    await writeSafetensors(path, [
      { name: 'h', shape: [3], data: Float32Array.of(1, 2, 65504), dtype: 'F16' },
      { name: 'w', shape: [1, 2], data: async () => Float32Array.of(3, 4) },
    ]);
    const bytes = readFileSync(path);
    expect(Number(bytes.readBigUInt64LE()) % 8).toBe(0);
    expect(bytes.toString('utf8', 8).trimEnd()).toMatch(/^\{"w":\{"dtype":"F32","shape":\[1,2\],"data_offsets":\[0,8\]\},"h":/);
    const file = await readSafetensors(path);
    expect([...(await file.readAsFloat32('h'))]).toEqual([1, 2, 65504]);
  });

  it('refuses duplicate names and wrong shapes, and leaves no file', async () => {
    const path = join(directory, 'refused', '..', 'refused.safetensors');
    const one = { name: 'a', shape: [1], data: new Float32Array(1) };
    await expect(writeSafetensors(path, [one, one])).rejects.toMatchObject({ code: 'E_WEIGHTS_DUPLICATE' });
    await expect(writeSafetensors(path, [{ ...one, shape: [2] }])).rejects.toMatchObject({ code: 'E_WEIGHTS_SHAPE' });
    expect(readdirSync(directory).filter((name) => name.includes('refused'))).toEqual([]);
  });

  it('writes every dtype as it was read, wide values first', async () => {
    const tensors: TensorToWrite[] = [
      { name: 'u8', shape: [3], dtype: 'U8', data: Uint8Array.of(1, 2, 3) },
      { name: 'bool', shape: [1], dtype: 'BOOL', data: Uint8Array.of(1) },
      { name: 'f16', shape: [2], dtype: 'F16', data: Uint16Array.of(0x3c00, 0x7e01) },
      { name: 'bf16', shape: [1], dtype: 'BF16', data: Uint16Array.of(0x3f80) },
      { name: 'i64', shape: [], dtype: 'I64', data: BigInt64Array.of(-(2n ** 60n)) },
      { name: 'f64', shape: [1], dtype: 'F64', data: Float64Array.of(Math.PI) },
    ];
    const path = join(directory, 'verbatim.safetensors');
    await writeSafetensors(path, tensors);
    const file = await readSafetensors(path);
    expect([...file.tensors.keys()]).toEqual(['i64', 'f64', 'f16', 'bf16', 'u8', 'bool']);
    for (const { name, dtype, data, shape } of tensors) {
      expect(file.tensors.get(name)).toEqual({ dtype, shape });
      expect(await file.read(name)).toEqual(data);
    }
    await writeSafetensors(path, [{ name: 'rounded', shape: [2], dtype: 'BF16', data: Float32Array.of(1, 1 + 2 ** -8 + 2 ** -9) }]);
    expect([...(await (await readSafetensors(path)).read('rounded'))]).toEqual([0x3f80, 0x3f81]);
  });

  it('refuses values of another dtype', async () => {
    const tensor = { name: 'a', shape: [1], dtype: 'I32', data: new Float32Array(1) } as const;
    await expect(writeSafetensors(join(directory, 'dtype.safetensors'), [tensor])).rejects.toMatchObject({
      code: 'E_WEIGHTS_DTYPE',
      message: expect.stringMatching(/tensor a: expected values of I32, found a Float32Array\nhelp: /),
    });
  });

  it('gives back what was written, under any names', async () => {
    const path = join(directory, 'property.safetensors');
    const tensor = fc.record({
      name: fc.oneof(fc.string(), fc.constantFrom('0', '__proto__', 'constructor', 'é"\\')),
      data: fc.float32Array({ maxLength: 20 }),
    });
    const property = fc.asyncProperty(
      fc.uniqueArray(tensor, { selector: (t) => t.name, maxLength: 6 }),
      fc.dictionary(fc.string(), fc.string()),
      async (tensors, metadata) => {
        await writeSafetensors(
          path,
          tensors.map(({ name, data }) => ({ name, data, shape: [1, data.length] })),
          metadata,
        );
        const file = await readSafetensors(path);
        expect({ ...file.metadata }).toEqual({ ...metadata });
        expect([...file.tensors.keys()].sort()).toEqual(tensors.map((t) => t.name).sort());
        for (const { name, data } of tensors) expect(await file.readAsFloat32(name)).toEqual(data);
      },
    );
    await fc.assert(property, { numRuns: 100 });
  });
});

describe('hostile files', () => {
  it('cut at any byte: our error', async () => {
    const path = join(directory, 'whole.safetensors');
    await writeSafetensors(path, [{ name: 'a', shape: [3], data: new Float32Array(3) }], { k: 'v' });
    const whole = readFileSync(path);
    for (let length = 0; length < whole.length; length++) {
      expectRefused(whole.subarray(0, length), /E_FILE_TRUNCATED/, /./);
      const cut = join(directory, 'cut.safetensors');
      writeFileSync(cut, whole.subarray(0, length));
      await expect(readSafetensors(cut)).rejects.toMatchObject({ name: 'FileError', code: 'E_FILE_TRUNCATED' });
    }
  });

  it('a header of a million keys is refused before it is parsed', () => {
    const json = Buffer.from(`{${Array.from({ length: 1e6 }, (_, i) => `"${i}":1`).join(',')}}`);
    const file = Buffer.concat([Buffer.alloc(8), json]);
    file.writeBigUInt64LE(BigInt(json.length));
    const start = performance.now();
    expect(() => parseSafetensors(file)).toThrow(
      expect.objectContaining({ code: 'E_FILE_FORMAT', message: expect.stringContaining('names') }),
    );
    expect(performance.now() - start).toBeLessThan(1000);
  });

  it('random bytes, and random JSON as header: our error or a valid file', () => {
    const refuse = (bytes: Uint8Array) => {
      try {
        parseSafetensors(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(OnestepError);
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), refuse), { numRuns: 500 });
    fc.assert(
      fc.property(fc.json(), fc.uint8Array({ maxLength: 16 }), (json, data) => refuse(fileOf(json, data))),
      { numRuns: 500 },
    );
    const entry = fc.record({
      dtype: fc.constantFrom('F32', 'F16', 'U8'),
      shape: fc.array(fc.integer({ min: -1, max: 5 })),
      data_offsets: fc.array(fc.nat(20)),
    });
    fc.assert(
      fc.property(fc.dictionary(fc.string(), entry), fc.uint8Array({ maxLength: 40 }), (header, data) => refuse(fileOf(header, data))),
    );
  });
});

describe('half precision', () => {
  const halfOf = (value: number) => float32ToHalf(Float32Array.of(value))[0];

  it('every half number survives', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const back = float32ToHalf(halfToFloat32(all));
    for (let bits = 0; bits < 65536; bits++) {
      const isNaN = (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0;
      if (isNaN) expect(back[bits]! & 0x7fff).toBe(0x7e00);
      else if (back[bits] !== bits) expect(back[bits]).toBe(bits);
    }
  });

  it.each([
    ['one', 1, 0x3c00],
    ['minus zero', -0, 0x8000],
    ['infinity', -Infinity, 0xfc00],
    ['NaN', NaN, 0x7e00],
    ['the largest', 65504, 0x7bff],
    ['just below the overflow', 65519.99, 0x7bff],
    ['the overflow', 65520, 0x7c00],
    ['the smallest normal', 2 ** -14, 0x0400],
    ['the smallest', 2 ** -24, 0x0001],
    ['half the smallest, a tie to even', 2 ** -25, 0x0000],
    ['above that tie', 2 ** -25 * 1.0001, 0x0001],
    ['a tie to even of denormals', 1.5 * 2 ** -24, 0x0002],
    ['a tie down to even', 1 + 2 ** -11, 0x3c00],
    ['a tie up to even', 1 + 3 * 2 ** -11, 0x3c02],
    ['denormals that round up to a normal', 2 ** -14 - 2 ** -26, 0x0400],
    ['a float32 denormal', 1e-40, 0x0000],
  ])('%s', (_, value, bits) => expect(halfOf(value)).toBe(bits));

  it('rounds to the nearest of its two neighbours', () => {
    fc.assert(
      fc.property(fc.float({ min: -65504, max: 65504, noNaN: true }), (value) => {
        const bits = halfOf(value)!;
        const [found] = halfToFloat32(Uint16Array.of(bits));
        const neighbours = halfToFloat32(Uint16Array.of(Math.max(bits & 0x7fff, 1) - 1, Math.min((bits & 0x7fff) + 1, 0x7bff)));
        for (const other of neighbours)
          expect(Math.abs(Math.abs(value) - Math.abs(found!))).toBeLessThanOrEqual(Math.abs(Math.abs(value) - other));
      }),
    );
  });
});

describe('bfloat16', () => {
  it.each([
    ['one', 1, 0x3f80],
    ['minus zero', -0, 0x8000],
    ['infinity', Infinity, 0x7f80],
    ['NaN', NaN, 0x7fc0],
    ['a tie to even, down', 1 + 2 ** -8, 0x3f80],
    ['a tie to even, up', 1 + 3 * 2 ** -8, 0x3f82],
    ['above a tie', 1 + 2 ** -8 + 2 ** -20, 0x3f81],
    ['the largest float32', 3.4028234663852886e38, 0x7f80],
  ])('%s', (_, value, bits) => expect(float32ToBfloat16(Float32Array.of(value))[0]).toBe(bits));
});

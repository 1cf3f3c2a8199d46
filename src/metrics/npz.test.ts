import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileError } from '../core/errors.js';
import { type NpyArray, readNpz, writeNpz } from '../core/npz.js';
import { featureRows } from './feature-rows.js';
import { readReference, writeReference } from './reference.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'onestep-npz-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

// numpy.savez_compressed(c=arange(6, float32) as [2, 3], f=asfortranarray(arange(24, float64) as [2, 3, 4]), s=float64 scalar 7).
const NUMPY_DEFLATED =
  'UEsDBC0AAAAIAAAAIQBP6QAq//////////8FABQAYy5ucHkBABAAmAAAAAAAAABVAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6TZqKuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GkY6CsaaOgq1CmQDLgYwaLAHEg5ABMQNQLzAAQBQSwMELQAAAAgAAAAhALgeWOv//////////wUAFABmLm5weQEAEABAAQAAAAAAAIkAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNmoa6joJ6WX1RSlJgXn1+UkgoSDykqTQUKF2ckFqQCuRpGOgrGOgommjoKtQpkAi4GFKDhAKEFoLQBlFaA0iZQ+oM9hNaC8kWgtCGUVoLSplCaAUrrQGkJKG0EpVWgtBmU5oDSelBaBkobQ2k1KG3uAABQSwMELQAAAAgAAAAhAGwsIRH//////////wUAFABzLm5weQEAEACIAAAAAAAAAEcAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNmoa6joJ6WX1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkamjoKtQoUAS4GMJBxAABQSwECLQMtAAAACAAAACEAT+kAKlUAAACYAAAABQAAAAAAAAAAAAAAgAEAAAAAYy5ucHlQSwECLQMtAAAACAAAACEAuB5Y64kAAABAAQAABQAAAAAAAAAAAAAAgAGMAAAAZi5ucHlQSwECLQMtAAAACAAAACEAbCwhEUcAAACIAAAABQAAAAAAAAAAAAAAgAFMAQAAcy5ucHlQSwUGAAAAAAMAAwCZAAAAygEAAAAA';

describe('readNpz', () => {
  it('reads what NumPy deflated: C and Fortran order, float32 and float64, a scalar', async () => {
    const path = join(directory, 'numpy.npz');
    writeFileSync(path, Buffer.from(NUMPY_DEFLATED, 'base64'));
    const arrays = await readNpz(path);
    expect(arrays.get('c')).toEqual({ shape: [2, 3], data: Float32Array.from([0, 1, 2, 3, 4, 5]) });
    expect(arrays.get('f')).toEqual({ shape: [2, 3, 4], data: Float64Array.from({ length: 24 }, (_, i) => i) });
    expect(arrays.get('s')).toEqual({ shape: [], data: Float64Array.of(7) });
  });

  it('reads what NumPy stored', async () => {
    const arrays = await readNpz(new URL('../../test/golden/frechet-identical.npz', import.meta.url).pathname);
    expect([...arrays].map(([name, { shape }]) => [name, shape])).toEqual([
      ['features_a', [200, 16]],
      ['features_b', [200, 16]],
    ]);
    expect(arrays.get('features_a')!.data).toEqual(arrays.get('features_b')!.data);
  });

  it('reads an array of a file that no buffer holds, by its range', async () => {
    const path = join(directory, 'large.npz');
    await writeNpz(path, { mu: { shape: [3], data: Float64Array.of(1, 2, 3) } });
    const bytes = readFileSync(path);
    // Three gigabytes in front of it, as if of another array: a hole in the file.
    const hole = 3 * 2 ** 30;
    const end = bytes.length - 22;
    const directoryAt = bytes.readUInt32LE(end + 16);
    bytes.writeUInt32LE(hole + bytes.readUInt32LE(directoryAt + 42), directoryAt + 42);
    bytes.writeUInt32LE(hole + directoryAt, end + 16);
    const file = openSync(path, 'w');
    ftruncateSync(file, hole);
    writeSync(file, bytes, 0, bytes.length, hole);
    closeSync(file);
    expect(await readNpz(path, ['mu'])).toEqual(new Map([['mu', { shape: [3], data: Float64Array.of(1, 2, 3) }]]));
    expect(await readNpz(path, ['sigma'])).toEqual(new Map());
    rmSync(path);
  });

  it('gives back what writeNpz wrote', async () => {
    const path = join(directory, 'round.npz');
    const values = fc.oneof(fc.float32Array({ maxLength: 30 }), fc.float64Array({ maxLength: 30 }));
    const array = values.map((data): NpyArray => ({ shape: [1, data.length], data }));
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.stringMatching(/^[a-zé_]{1,5}$/), array, { maxKeys: 4 }), async (arrays) => {
        await writeNpz(path, arrays);
        expect(Object.fromEntries(await readNpz(path))).toEqual({ ...arrays });
      }),
      { numRuns: 50 },
    );
  });

  it('cut anywhere, or with any byte changed: our error or the same values', async () => {
    const path = join(directory, 'hostile.npz');
    await writeNpz(path, { a: { shape: [2], data: Float32Array.of(1, 2) } });
    const whole = readFileSync(path);
    const deflated = Buffer.from(NUMPY_DEFLATED, 'base64');
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      await expect(readNpz(path)).rejects.toMatchObject({
        name: 'FileError',
        code: 'E_FILE_FORMAT',
        message: expect.stringContaining(path),
      });
    }
    for (const file of [whole, deflated])
      for (let at = 0; at < file.length; at++) {
        const changed = Buffer.from(file);
        changed[at]! ^= 1 << (at % 8);
        writeFileSync(path, changed);
        await readNpz(path).catch((error: unknown) => expect(error).toBeInstanceOf(FileError));
      }
  });

  it('names what it cannot read', async () => {
    await expect(readNpz(join(directory, 'absent.npz'))).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
    const path = join(directory, 'dtype.npz');
    await writeNpz(path, { a: { shape: [1], data: Float32Array.of(1) } });
    const bytes = readFileSync(path);
    bytes.write('<i4', bytes.indexOf('<f4'));
    writeFileSync(path, bytes);
    await expect(readNpz(path)).rejects.toMatchObject({ message: expect.stringMatching(/a\.npy: its checksum/) });
  });
});

describe('references', () => {
  it('are written and read with mu and sigma', async () => {
    const path = join(directory, 'reference.npz');
    const statistics = { mean: Float64Array.of(1, 2), covariance: Float64Array.of(1, 0.5, 0.5, 2) };
    await writeReference(path, statistics);
    expect(await readReference(path)).toEqual(statistics);
    expect([...(await readNpz(path)).keys()]).toEqual(['mu', 'sigma']);
  });

  it('carry rows under names of their own, whatever else is in the file', async () => {
    const path = join(directory, 'rows.npz');
    const statistics = { mean: Float64Array.of(1, 2), covariance: Float64Array.of(1, 0.5, 0.5, 2) };
    const features = { count: 3, dimensions: 2, chunks: [Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6)] };
    await writeReference(path, { ...statistics, features, probabilities: featureRows(Float32Array.of(0.5, 0.2, 0.3), 3) });
    expect(await readReference(path)).toEqual({
      ...statistics,
      features: featureRows(Float32Array.of(1, 2, 3, 4, 5, 6), 2),
      probabilities: featureRows(Float32Array.of(0.5, 0.2, 0.3), 3),
    });
    await writeNpz(path, {
      mu: { shape: [2], data: statistics.mean },
      sigma: { shape: [2, 2], data: statistics.covariance },
      features: { shape: [2, 3], data: new Float32Array(6) },
    });
    await expect(readReference(path)).rejects.toThrow(/features: expected \[N, 2\], found \[2, 3\]/);
  });

  it('that are not finite are refused', async () => {
    const path = join(directory, 'nan.npz');
    await writeReference(path, { mean: Float64Array.of(1, NaN), covariance: new Float64Array(4) });
    await expect(readReference(path)).rejects.toThrow(/mu: expected finite values, found NaN/);
  });

  it('of other content are refused', async () => {
    const path = join(directory, 'other.npz');
    await writeNpz(path, { mu: { shape: [2], data: new Float64Array(2) } });
    await expect(readReference(path)).rejects.toMatchObject({
      code: 'E_FILE_FORMAT',
      message: expect.stringContaining('sigma: expected [2, 2], found nothing'),
    });
  });
});

/** Small data sets on disk, in a directory that is removed after the tests of the file. */
import { encode } from 'fast-png';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll } from 'vitest';
import { ZipFile } from 'yazl';

/** Contents by name. */
export type Files = Readonly<Record<string, Uint8Array | string>>;

/** Bytes of an image that follow from its number. */
export const pixelsOf = (number: number, width = 8, height = width, channels = 3): Uint8Array =>
  Uint8Array.from({ length: width * height * channels }, (_, k) => (number * 37 + k * 11) % 256);

/** A PNG of {@link pixelsOf}. */
export const png = (number: number, width = 8, height = width, channels = 3): Uint8Array =>
  encode({ width, height, channels, data: pixelsOf(number, width, height, channels), depth: 8 });

/** EDM's name of an image. */
export const edmName = (number: number): string => `00000/img${String(number).padStart(8, '0')}.png`;

/** An EDM set of `count` images with labels `k % 3`; `others` are added or replace some. */
export function edmFiles(count: number, others: Files = {}): Files {
  const numbers = Array.from({ length: count }, (_, k) => k);
  const labels = numbers.map((k) => [edmName(k), k % 3]);
  return { ...Object.fromEntries(numbers.map((k) => [edmName(k), png(k)])), 'dataset.json': JSON.stringify({ labels }), ...others };
}

/** A NumPy array file, version 1. */
export function npy(descr: string, shape: readonly number[], data: Uint8Array, { fortran = false } = {}): Uint8Array {
  const text = `{'descr': '${descr}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': (${shape.join(', ')},), }`.padEnd(117);
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00\x76\x00', 'latin1'), Buffer.from(`${text}\n`), data]);
}

/** Writes files below a directory that is removed after the tests of the file. */
export class FileMaker {
  readonly root: string;
  #made = 0;

  constructor(name: string) {
    this.root = mkdtempSync(join(tmpdir(), `onestep-${name}-`));
    afterAll(() => rmSync(this.root, { recursive: true, force: true }));
  }

  /** A path that nothing is at; its folder holds nothing else. */
  path(name: string): string {
    const folder = join(this.root, String(this.#made++));
    mkdirSync(folder);
    return join(folder, name);
  }

  file(name: string, content: Uint8Array | string): string {
    const path = this.path(name);
    writeFileSync(path, content);
    return path;
  }

  folder(files: Files): string {
    const root = this.path('data');
    mkdirSync(root);
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), content);
    }
    return root;
  }

  async zip(files: Files, { name = 'data.zip', compress = false } = {}): Promise<string> {
    const zip = new ZipFile();
    for (const [entry, content] of Object.entries(files)) zip.addBuffer(Buffer.from(content), entry, { compress });
    zip.end();
    return this.file(name, await buffer(zip.outputStream as NodeJS.ReadableStream));
  }
}

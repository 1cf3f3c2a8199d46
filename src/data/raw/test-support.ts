/** Small archives in the layout of published ones. */
import { gzipSync } from 'node:zlib';

/** A ustar archive; a name over 100 characters gets GNU's long name. */
export function tar(entries: Readonly<Record<string, Uint8Array | undefined>>): Buffer {
  const header = (name: string, size: number, kind: string) => {
    const block = Buffer.alloc(512);
    block.write(name.slice(0, 100), 0);
    block.write('0000644\0', 100);
    block.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
    block.write('        ', 148);
    block.write(kind, 156);
    block.write('ustar  \0', 257);
    block.write('3.1415926535', 345); // GNU keeps times where POSIX has a prefix
    block.write(
      `${block
        .reduce((a, b) => a + b, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
    );
    return block;
  };
  const padded = (bytes: Uint8Array) => [bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  const parts = Object.entries(entries).flatMap(([name, bytes]) =>
    bytes === undefined
      ? []
      : [
          ...(name.length > 100 ? [header('././@LongLink', name.length + 1, 'L'), ...padded(Buffer.from(`${name}\0`))] : []),
          header(name, bytes.length, name.endsWith('/') ? '5' : '0'),
          ...padded(bytes),
        ],
  );
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

export const tarGz = (entries: Readonly<Record<string, Uint8Array | undefined>>): Buffer => gzipSync(tar(entries));

const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
const text = (value: string) =>
  Buffer.concat([Buffer.from(`U${String.fromCharCode(value.length)}`, 'latin1'), Buffer.from(value, 'latin1')]);
const op = (value: string) => Buffer.from(value, 'latin1');
const int = (value: number) => Buffer.concat([op('J'), u32(value)]);

/** A pickle of protocol 2 as Python 2 writes the batches: `data` is `[labels.length, 3072]`. */
export function python2Batch(data: Uint8Array, labels: readonly number[], { fortran = false } = {}): Buffer {
  return Buffer.concat([
    op('\x80\x02}q\x01('),
    text('batch_label'),
    text('training batch 1 of 5'),
    text('labels'),
    op(']('),
    ...labels.map(int),
    op('e'),
    text('data'),
    op('cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01'),
    int(labels.length),
    int(3072),
    op('\x86cnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|NNN'),
    int(0xffffffff),
    int(0xffffffff),
    op(`K\0tb${fortran ? '\x88' : '\x89'}T`),
    u32(data.length),
    data,
    op('tb'),
    text('filenames'),
    op(']('),
    ...labels.map((_, k) => text(`camion_s_00${k}.png`)),
    op('eu.'),
  ]);
}

/** `batches.meta` as Python 2 writes it. */
export const python2Meta = (names: readonly string[]): Buffer =>
  Buffer.concat([op('\x80\x02}q\x01('), text('num_vis'), op('M\0\x0c'), text('label_names'), op(']('), ...names.map(text), op('eu.')]);

/** Records of the binary layout. */
export const binaryRecords = (data: Uint8Array, labels: readonly number[]): Buffer =>
  Buffer.concat(labels.flatMap((label, k) => [Buffer.of(label), data.subarray(k * 3072, (k + 1) * 3072)]));

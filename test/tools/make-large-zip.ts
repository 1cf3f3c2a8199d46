/**
 * Writes an EDM data set of any number of equal images as a zip, quickly: headers are written here, not by a zip library.
 *
 * Run as `npx tsx test/tools/make-large-zip.ts OUT.zip ENTRIES [shuffled] [edm|imagenet|flat]`.
 */
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { crc32, deflateSync } from 'node:zlib';

export interface LargeZipOptions {
  entries: number;
  /** Entries and labels in another order than that of the names, by a fixed permutation. */
  shuffled?: boolean;
  classes?: number;
  naming?: LargeZipNaming;
}

const NAMINGS = {
  /** EDM's: a thousand images a folder. */
  edm: (index: number) => `${String(Math.floor(index / 1000)).padStart(5, '0')}/img${String(index).padStart(8, '0')}.png`,
  /** ImageNet's: a folder for each class, names of many lengths. */
  imagenet: (index: number) => {
    const folder = `n${String(1440764 + Math.floor(index / 1300) * 9973).padStart(8, '0')}`;
    return `${folder}/${folder}_${(index % 1300) * 37}.png`;
  },
  /** Of many lengths in one folder. */
  flat: (index: number) => `${index}.png`,
};

/** How images are named. */
export type LargeZipNaming = keyof typeof NAMINGS;

/** The name that image `index` has. */
export const largeZipName = (index: number, naming: LargeZipNaming = 'edm'): string => NAMINGS[naming](index);

/** The label that image `index` has. */
export const largeZipLabel = (index: number, classes: number): number => Math.floor(index / 1000) % classes;

function pngOfOneColour(size: number): Buffer {
  const chunk = (type: string, content: Buffer) => {
    const body = Buffer.concat([Buffer.from(type), content]);
    const out = Buffer.alloc(8 + body.length);
    out.writeUInt32BE(content.length, 0);
    body.copy(out, 4);
    out.writeUInt32BE(crc32(body), out.length - 4);
    return out;
  };
  const header = Buffer.from([0, 0, 0, size, 0, 0, 0, size, 8, 2, 0, 0, 0]);
  const rows = Buffer.alloc(size * (1 + 3 * size));
  for (let row = 0; row < size; row++) rows.fill(90, row * (1 + 3 * size) + 1, (row + 1) * (1 + 3 * size));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

/** Version needed to lengths, shared by both headers: stored, UTF-8, 1980. */
function shared(content: Buffer, checksum: number, name: Buffer): Buffer {
  const bytes = Buffer.alloc(26);
  bytes.writeUInt16LE(45, 0);
  bytes.writeUInt16LE(0x800, 2);
  bytes.writeUInt16LE(0x21, 8);
  bytes.writeUInt32LE(checksum, 10);
  bytes.writeUInt32LE(content.length, 14);
  bytes.writeUInt32LE(content.length, 18);
  bytes.writeUInt16LE(name.length, 22);
  return bytes;
}

/** Writes the zip; with zip64 end records, and zip64 fields for what lies beyond 4 GiB. */
export async function writeLargeZip(path: string, options: LargeZipOptions): Promise<void> {
  const { entries, shuffled = false, classes = 1000, naming = 'edm' } = options;
  const out = createWriteStream(path, { highWaterMark: 1 << 24 });
  const write = async (bytes: Buffer) => {
    if (!out.write(bytes)) await new Promise<void>((resolve) => out.once('drain', () => resolve()));
  };
  // A step without common factors visits every index.
  const step = shuffled ? 7_368_787 : 1;
  const at = (k: number) => (k * step) % entries;
  const image = pngOfOneColour(32);
  const directory: Buffer[] = [];
  let offset = 0;
  let pending: Buffer[] = [];
  let directorySize = 0;

  const add = (name: Buffer, content: Buffer, header: Buffer) => {
    const local = Buffer.alloc(4);
    local.writeUInt32LE(0x04034b50);
    pending.push(local, header, name, content);
    const far = offset > 0xfffffffe;
    const central = Buffer.alloc(46 + (far ? 12 : 0) + name.length);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(45, 4);
    header.copy(central, 6);
    central.writeUInt16LE(far ? 12 : 0, 30);
    central.writeUInt32LE(far ? 0xffffffff : offset, 42);
    name.copy(central, 46);
    if (far) {
      central.writeUInt16LE(1, 46 + name.length);
      central.writeUInt16LE(8, 48 + name.length);
      central.writeBigUInt64LE(BigInt(offset), 50 + name.length);
    }
    directory.push(central);
    directorySize += central.length;
    offset += 30 + name.length + content.length;
  };

  const checksum = crc32(image);
  for (let k = 0; k < entries; k++) {
    const name = Buffer.from(largeZipName(at(k), naming));
    add(name, image, shared(image, checksum, name));
    if (pending.length > 4000) {
      await write(Buffer.concat(pending));
      pending = [];
    }
  }
  const pairs = Array.from({ length: entries }, (_, k) => `["${largeZipName(at(k), naming)}", ${largeZipLabel(at(k), classes)}]`);
  const labels = Buffer.from(`{"labels": [${pairs.join(', ')}]}`);
  const labelName = Buffer.from('dataset.json');
  add(labelName, labels, shared(labels, crc32(labels), labelName));
  await write(Buffer.concat(pending));
  for (let k = 0; k < directory.length; k += 4000) await write(Buffer.concat(directory.slice(k, k + 4000)));

  const end64 = Buffer.alloc(56 + 20 + 22);
  end64.writeUInt32LE(0x06064b50, 0);
  end64.writeBigUInt64LE(44n, 4);
  end64.writeUInt16LE(45, 12);
  end64.writeUInt16LE(45, 14);
  end64.writeBigUInt64LE(BigInt(directory.length), 24);
  end64.writeBigUInt64LE(BigInt(directory.length), 32);
  end64.writeBigUInt64LE(BigInt(directorySize), 40);
  end64.writeBigUInt64LE(BigInt(offset), 48);
  end64.writeUInt32LE(0x07064b50, 56);
  end64.writeBigUInt64LE(BigInt(offset + directorySize), 64);
  end64.writeUInt32LE(1, 72);
  end64.writeUInt32LE(0x06054b50, 76);
  end64.writeUInt16LE(0xffff, 84);
  end64.writeUInt16LE(0xffff, 86);
  end64.writeUInt32LE(0xffffffff, 88);
  end64.writeUInt32LE(0xffffffff, 92);
  await write(end64);
  out.end();
  await finished(out);
}

const [script, path, entries, ...how] = process.argv.slice(1);
if (script?.endsWith('make-large-zip.ts')) {
  if (path === undefined || !(Number(entries) > 0))
    throw new Error('usage: make-large-zip.ts OUT.zip ENTRIES [shuffled] [edm|imagenet|flat]');
  const naming = (Object.keys(NAMINGS) as LargeZipNaming[]).find((name) => how.includes(name));
  await writeLargeZip(path, { entries: Number(entries), shuffled: how.includes('shuffled'), ...(naming && { naming }) });
}

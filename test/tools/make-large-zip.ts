/**
 * Writes an EDM data set of any number of equal images as a zip.
 *
 * Run as `npx tsx test/tools/make-large-zip.ts OUT.zip ENTRIES [shuffled] [edm|imagenet|flat]`.
 */
import { StoredZip } from '../../src/pipelines/dataset/stored-zip.js';
import { writePng } from '../../src/pipelines/dataset/write-png.js';

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

/** Writes the zip; its entries are stored. */
export async function writeLargeZip(path: string, options: LargeZipOptions): Promise<void> {
  const { entries, shuffled = false, classes = 1000, naming = 'edm' } = options;
  // A step without common factors visits every index.
  const step = shuffled ? 7_368_787 : 1;
  const at = (k: number) => (k * step) % entries;
  // Small, so that a million of them take a tenth of a gigabyte.
  const image = await writePng({ pixels: new Uint8Array(4 * 4 * 3).fill(90), height: 4, width: 4, channels: 3 });
  const zip = (await StoredZip.open(path, 0, 0))!;
  for (let k = 0; k < entries; k++) await zip.add(largeZipName(at(k), naming), image);
  const pairs = Array.from({ length: entries }, (_, k) => `["${largeZipName(at(k), naming)}", ${largeZipLabel(at(k), classes)}]`);
  await zip.add('dataset.json', Buffer.from(`{"labels": [${pairs.join(', ')}]}`));
  await zip.finish();
  await zip.close();
}

const [script, path, entries, ...how] = process.argv.slice(1);
if (script?.endsWith('make-large-zip.ts')) {
  if (path === undefined || !(Number(entries) > 0))
    throw new Error('usage: make-large-zip.ts OUT.zip ENTRIES [shuffled] [edm|imagenet|flat]');
  const naming = (Object.keys(NAMINGS) as LargeZipNaming[]).find((name) => how.includes(name));
  await writeLargeZip(path, { entries: Number(entries), shuffled: how.includes('shuffled'), ...(naming && { naming }) });
}

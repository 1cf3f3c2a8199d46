import type { NameRecords } from '../encoded/name-records.js';
import { FileError } from '../../core/errors.js';
import type { OnInvalid } from '../encoded/encoded-images.js';
import { MAX_CLASSES, readLabels, type TakeLabel } from './label-file.js';
import { NameTable, sameName } from './name-table.js';

/** What stands for an image without a label. */
export const NO_LABEL = 0xffffffff;

/**
 * The label of each image from a `dataset.json`, by name; {@link NO_LABEL} where the file has none for it, or with `skip` none that is a
 * class index. Undefined: there are no labels.
 *
 * Files that list images in their own order, as EDM's tool writes them, are matched by comparing neighbours; a table of names is made
 * where one is not. Names that no image has are passed over, and of a name that stands twice the last label counts, as in EDM.
 *
 * @throws FileError as `readLabels`; with `stop` `E_IMAGE_LABEL` for a label that is no class index.
 */
export function matchLabels(
  names: NameRecords,
  chunks: Iterable<Uint8Array>,
  where: string,
  onInvalid: OnInvalid,
): Uint32Array | undefined {
  const labels = new Uint32Array(names.size).fill(NO_LABEL);
  let table: NameTable | undefined;
  let next = 0;
  let inOrder = true;
  const take: TakeLabel = (bytes, start, end, label) => {
    if (!inOrder || next >= names.size || !sameName(names, next, bytes, start, end)) {
      table ??= new NameTable(names);
      const index = table.find(bytes, start, end);
      if (index === -1) return;
      inOrder = index === next;
      next = index;
    }
    labels[next++] = label;
  };
  const found = readLabels(chunks, where, take, (name, label) => {
    const bytes = Buffer.from(name);
    if (onInvalid === 'skip') return take(bytes, 0, bytes.length, NO_LABEL);
    throw new FileError('E_IMAGE_LABEL', `${where}: ${name}: expected a class index of 0 to ${MAX_CLASSES - 1}, found ${label}`, {
      help: 'mend the label, leave such images out with onInvalid: skip, or all labels with labels: false',
    });
  });
  return found ? labels : undefined;
}

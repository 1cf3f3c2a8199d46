/**
 * A Parquet file with a column of images: which columns it has, and its rows, a row group at a time.
 */
import { open } from 'node:fs/promises';
import { parquetMetadataAsync, parquetReadObjects, parquetSchema, type AsyncBuffer, type FileMetaData, type SchemaTree } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { FileError } from '../../core/errors.js';
import { withFileErrors } from '../../core/files.js';
import { printable } from '../../core/pickle/index.js';

/** Rows that are stored together. */
export interface RowGroup {
  /** Its first row in the file. */
  first: number;
  rows: number;
}

/** A column of the file. */
export interface ParquetColumn {
  name: string;
  /** What is in it, as far as the schema and the metadata of Hugging Face's `datasets` say. */
  kind: 'image' | 'label' | 'other';
  /** Of a label column; undefined where the file does not name them. */
  classNames?: readonly string[];
}

/** An open Parquet file; it holds no handle between reads. */
export interface ParquetFile {
  readonly path: string;
  readonly rows: number;
  readonly groups: readonly RowGroup[];
  readonly columns: readonly ParquetColumn[];
  /** Values of one column for rows `[first, first + rows)`. */
  read(column: string, first: number, rows: number): Promise<unknown[]>;
}

const damaged = (path: string, problem: string, cause?: unknown) =>
  new FileError('E_FILE_FORMAT', `${path}: ${problem}`, { help: 'this is no whole Parquet file; download it again', cause });

/** Reads by range; nothing beyond the file's end. */
async function fileBuffer(path: string): Promise<AsyncBuffer> {
  const size = await withFileErrors(path, 'read', async () => {
    const handle = await open(path, 'r');
    try {
      const found = await handle.stat();
      if (!found.isFile()) throw damaged(path, 'expected a file');
      return found.size;
    } finally {
      await handle.close();
    }
  });
  return {
    byteLength: size,
    slice: (start, end = size) =>
      withFileErrors(path, 'read', async () => {
        const handle = await open(path, 'r');
        try {
          const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start));
          for (let at = 0; at < bytes.length;) {
            const { bytesRead } = await handle.read(bytes, at, bytes.length - at, start + at);
            if (bytesRead === 0) throw damaged(path, `expected ${size} bytes, found its end at ${start + at}`);
            at += bytesRead;
          }
          return bytes.buffer;
        } finally {
          await handle.close();
        }
      }),
  };
}

/** What `datasets` writes of a column. */
interface Feature {
  _type?: string;
  names?: unknown;
}

/** The features that `datasets` stores beside the schema; empty where the file has none or they cannot be read. */
function featuresOf(metadata: FileMetaData): Record<string, Feature> {
  const text = metadata.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value;
  try {
    return ((JSON.parse(text ?? '{}') as { info?: { features?: Record<string, Feature> } }).info?.features ?? {}) as Record<
      string,
      Feature
    >;
  } catch {
    return {};
  }
}

const IMAGE_NAMES = /^(image|img|images|jpg|jpeg|png|webp)$/i;
const LABEL_NAMES = /^(label|labels|fine_label|coarse_label|class|cls|target|y)$/i;

function columnOf({ element, children }: SchemaTree, feature: Feature | undefined): ParquetColumn {
  const { name, type, converted_type: converted } = element;
  const isBytes = (tree: SchemaTree | undefined) => tree?.element.type === 'BYTE_ARRAY';
  const image =
    children.length > 0
      ? isBytes(children.find((child) => child.element.name === 'bytes'))
      : isBytes({ element, children } as unknown as SchemaTree) && converted !== 'UTF8' && IMAGE_NAMES.test(name);
  if (image && (feature?._type === undefined || feature._type === 'Image')) return { name, kind: 'image' };
  const names =
    Array.isArray(feature?.names) && feature.names.every((n) => typeof n === 'string') ? (feature.names as string[]) : undefined;
  const integer = type === 'INT32' || type === 'INT64';
  if (feature?._type === 'ClassLabel') return { name, kind: 'label', ...(names && { classNames: names }) };
  const text = type === 'BYTE_ARRAY' && converted === 'UTF8';
  return { name, kind: (integer || text) && LABEL_NAMES.test(name) ? 'label' : 'other' };
}

/** Opens a file: reads its footer. Throws {@link FileError}: `E_FILE_ABSENT`, `E_FILE_FORMAT`. */
export async function openParquetFile(path: string): Promise<ParquetFile> {
  const file = await fileBuffer(path);
  const guard = async <T>(what: string, action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (error) {
      if (error instanceof FileError) throw error;
      throw damaged(path, `${what}: ${printable((error as Error).message)}`, error);
    }
  };
  const metadata = await guard('its footer cannot be read', () => parquetMetadataAsync(file));
  const features = featuresOf(metadata);
  let first = 0;
  const groups = metadata.row_groups.map(({ num_rows: count }) => {
    const group = { first, rows: Number(count) };
    first += group.rows;
    return group;
  });
  return {
    path,
    rows: first,
    groups,
    columns: parquetSchema(metadata).children.map((child) => columnOf(child, features[child.element.name])),
    read: (column, from, rows) =>
      guard(`column ${printable(column)}, rows ${from} to ${from + rows - 1}`, async () => {
        const found = await parquetReadObjects({
          file,
          metadata,
          columns: [column],
          rowStart: from,
          rowEnd: from + rows,
          compressors,
          utf8: false,
        });
        if (found.length !== rows) throw new RangeError(`expected ${rows} rows, found ${found.length}`);
        return found.map((row) => row[column] as unknown);
      }),
  };
}

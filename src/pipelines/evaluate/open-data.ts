/**
 * Data sets by path or as sources, each opened once and closed at the end.
 */
import type { DataSource } from '../../core/contracts/data.js';
import { dataset } from '../../data/dataset.js';
import { isFile } from './reference.js';
import type { OpenData, OpenedData } from './scoring.js';

/** Opens data sets on demand; `close` closes those that were opened from a path: a source that was given stays open. */
export function openDataOnce(): { open: OpenData; close: () => Promise<void> } {
  const opened = new Map<DataSource | string, Promise<OpenedData>>();
  const openNow = async (data: DataSource | string): Promise<OpenedData> => {
    if (typeof data === 'string') await isFile(data);
    const source = typeof data === 'string' ? dataset(data) : data;
    return { source, description: await source.open(), path: typeof data === 'string' ? data : undefined };
  };
  const open: OpenData = (data) => {
    if (!opened.has(data)) opened.set(data, openNow(data));
    return opened.get(data)!;
  };
  const close = async (): Promise<void> => {
    for (const [data, pending] of opened)
      if (typeof data === 'string')
        await pending.then(
          ({ source }) => source.close(),
          () => undefined,
        );
  };
  return { open, close };
}

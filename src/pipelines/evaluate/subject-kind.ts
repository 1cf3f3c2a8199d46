import { open, readdir, stat } from 'node:fs/promises';
import { withFileErrors } from '../../core/files.js';

/** Entries that PyTorch's container begins with. */
const TORCH_ENTRY = /^[^/]+\/(data\.pkl|version|byteorder|\.format_version|\.storage_alignment)$/;

/**
 * Whether a reference is a network rather than a set of images, by the content of its first bytes; what is no path here names a network.
 *
 * Safetensors, pickles, PyTorch's containers and folders with their configuration are networks, everything else is for the data sources.
 */
export async function holdsNetwork(reference: string): Promise<boolean> {
  const found = await stat(reference).catch(() => undefined);
  if (found === undefined) return true;
  return withFileErrors(reference, 'read', async () => {
    if (found.isDirectory()) {
      const names = await readdir(reference);
      return names.some((name) => name === 'model_index.json' || name === 'config.json' || name.endsWith('.safetensors'));
    }
    const handle = await open(reference, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0);
      const head = buffer.subarray(0, bytesRead);
      if (head.length < 32) return false;
      if (head[8] === 0x7b && head.readUInt32LE(4) === 0) return true;
      if (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5) return true;
      if (head.readUInt32LE(0) !== 0x04034b50) return false;
      return TORCH_ENTRY.test(head.toString('utf8', 30, 30 + Math.min(head.readUInt16LE(26), 400)));
    } finally {
      await handle.close();
    }
  });
}

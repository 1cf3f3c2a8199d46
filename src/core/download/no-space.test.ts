import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it, vi } from 'vitest';
import { downloadFile } from './download-file.js';
import { cleanEnvironment, content, HASTY, sendFile, serve, temporaryDirectory } from './test-support.js';

/** Bytes that the disk takes for parts; the rest fails as a full disk does. */
const disk = vi.hoisted(() => ({ room: Infinity }));

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return {
    ...real,
    open: async (path: string, flags: string) => {
      const handle = await real.open(path, flags);
      if (!path.endsWith('.part') || flags !== 'a') return handle;
      const write = handle.write.bind(handle) as (bytes: Uint8Array, at: number, length: number) => Promise<{ bytesWritten: number }>;
      return Object.assign(handle, {
        write: async (bytes: Uint8Array, at: number, length: number) => {
          if (disk.room === 0)
            throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
          const result = await write(bytes, at, Math.min(length, disk.room));
          disk.room -= result.bytesWritten;
          return result;
        },
      });
    },
  };
});

beforeEach(cleanEnvironment);

it('a disk that fills up on the way leaves a part that the next download goes on with', async () => {
  const file = content(200_000);
  const directory = temporaryDirectory();
  const path = join(directory, 'w.bin');
  const server = await serve((request, response) => sendFile(request, response, file));
  disk.room = 70_000;
  await expect(downloadFile(`${server.origin}/w`, path, HASTY)).rejects.toMatchObject({ code: 'E_FILE_NO_SPACE' });
  expect(readdirSync(directory).sort()).toEqual(['w.bin.part', 'w.bin.part.json']);
  disk.room = Infinity;
  await downloadFile(`${server.origin}/w`, path, HASTY);
  expect(server.requests.map(({ headers }) => headers.range)).toEqual([undefined, 'bytes=70000-']);
  expect(readFileSync(path).equals(file)).toBe(true);
  expect(readdirSync(directory)).toEqual(['w.bin']);
});

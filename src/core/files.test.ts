import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isTemporaryName, writeDirectoryAtomic, writeFileAtomic } from './files.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'onestep-files-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('writeFileAtomic', () => {
  it('writes strings, bytes, iterables and async iterables', async () => {
    const path = join(directory, 'a');
    const chunks = [Uint8Array.of(1, 2), new Uint8Array(0), Uint8Array.of(3)];
    await writeFileAtomic(path, 'é');
    expect(readFileSync(path, 'utf8')).toBe('é');
    await writeFileAtomic(path, Uint8Array.of(7, 8));
    expect([...readFileSync(path)]).toEqual([7, 8]);
    await writeFileAtomic(path, chunks);
    expect([...readFileSync(path)]).toEqual([1, 2, 3]);
    await writeFileAtomic(
      path,
      (async function* () {
        yield* chunks;
      })(),
    );
    expect([...readFileSync(path)]).toEqual([1, 2, 3]);
    expect(readdirSync(directory)).toEqual(['a']);
  });

  it('keeps the former file and leaves no temporary one where the source fails half-way', async () => {
    const path = join(directory, 'a');
    await writeFileAtomic(path, 'former');
    const failing = (function* () {
      yield new Uint8Array(100);
      expect(readdirSync(directory).filter(isTemporaryName)).toHaveLength(1);
      throw new RangeError('source');
    })();
    await expect(writeFileAtomic(path, failing)).rejects.toThrow(RangeError);
    expect(readFileSync(path, 'utf8')).toBe('former');
    expect(readdirSync(directory)).toEqual(['a']);
  });

  it('names the path and the fix where it cannot write', async () => {
    const absent = join(directory, 'absent', 'a');
    await expect(writeFileAtomic(absent, '')).rejects.toMatchObject({
      name: 'FileError',
      code: 'E_FILE_NO_DIRECTORY',
      message: expect.stringMatching(/absent\/a.*\nhelp: create the directory/s),
    });
    writeFileSync(join(directory, 'file'), '');
    await expect(writeFileAtomic(join(directory, 'file', 'a'), '')).rejects.toMatchObject({ code: 'E_FILE_NOT_WRITABLE' });
    mkdirSync(join(directory, 'taken'));
    await expect(writeFileAtomic(join(directory, 'taken'), '')).rejects.toMatchObject({ code: 'E_FILE_NOT_WRITABLE' });
    expect(readdirSync(directory).sort()).toEqual(['file', 'taken']);
  });

  it('says so where the disk is full, and keeps the former file', async ({ skip }) => {
    const disk = join(directory, 'disk');
    mkdirSync(disk);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', disk], { stdio: 'ignore' });
    } catch {
      return skip('a small disk cannot be mounted here (needs root)');
    }
    try {
      const path = join(disk, 'a');
      await writeFileAtomic(path, 'former');
      const chunks = Array.from({ length: 10 }, () => new Uint8Array(100_000));
      await expect(writeFileAtomic(path, chunks)).rejects.toMatchObject({
        code: 'E_FILE_NO_SPACE',
        message: expect.stringContaining(path),
      });
      expect(readFileSync(path, 'utf8')).toBe('former');
      expect(readdirSync(disk)).toEqual(['a']);
    } finally {
      execFileSync('umount', [disk]);
    }
  });
});

describe('writeDirectoryAtomic', () => {
  it('shows the directory only when it is complete', async () => {
    const path = join(directory, 'd');
    await writeDirectoryAtomic(path, async (temporary) => {
      expect(existsSync(path)).toBe(false);
      mkdirSync(join(temporary, 'sub'));
      writeFileSync(join(temporary, 'sub', 'a'), '1');
    });
    expect(readFileSync(join(path, 'sub', 'a'), 'utf8')).toBe('1');
    expect(readdirSync(directory)).toEqual(['d']);
  });

  it('replaces a former directory as a whole', async () => {
    const path = join(directory, 'd');
    await writeDirectoryAtomic(path, async (temporary) => writeFileSync(join(temporary, 'old'), ''));
    await writeDirectoryAtomic(path, async (temporary) => writeFileSync(join(temporary, 'new'), ''));
    expect(readdirSync(path)).toEqual(['new']);
    expect(readdirSync(directory)).toEqual(['d']);
  });

  it('leaves the former one and no rubbish where filling fails', async () => {
    const path = join(directory, 'd');
    await writeDirectoryAtomic(path, async (temporary) => writeFileSync(join(temporary, 'old'), ''));
    const failing = writeDirectoryAtomic(path, async (temporary) => {
      writeFileSync(join(temporary, 'half'), '');
      throw new RangeError('fill');
    });
    await expect(failing).rejects.toThrow(RangeError);
    expect(readdirSync(path)).toEqual(['old']);
    expect(readdirSync(directory)).toEqual(['d']);
    await expect(writeDirectoryAtomic(join(directory, 'x', 'y'), async () => {})).rejects.toMatchObject({ code: 'E_FILE_NO_DIRECTORY' });
  });
});

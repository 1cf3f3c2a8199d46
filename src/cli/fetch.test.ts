import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { fetchCommand } from './fetch.js';

let cache: string;
const printed: string[] = [];
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'onestep-fetch-'));
  printed.length = 0;
  vi.stubEnv('ONESTEP_CACHE', cache);
  vi.stubEnv('ONESTEP_OFFLINE', '1');
  for (const stream of ['log', 'error'] as const) vi.spyOn(console, stream).mockImplementation((line: string) => void printed.push(line));
});
afterEach(() => {
  rmSync(cache, { recursive: true, force: true });
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

const keep = (name: string) => {
  mkdirSync(join(cache, 'downloads', 'published'), { recursive: true });
  const path = join(cache, 'downloads', 'published', `${name}.pkl`);
  writeFileSync(path, '');
  return path;
};

it('--list is a table of the published teachers and says which are in the cache', async () => {
  const path = keep('edm-ffhq-64x64-uncond-ve');
  expect(await fetchCommand.run({ list: true }, [])).toBe(0);
  const [table] = printed;
  expect(table!.match(/^edm-/gm)).toHaveLength(9);
  expect(table).toMatch(/^edm-ffhq-64x64-uncond-ve +ffhq64-ncsnpp +62\.8 M +about 251 MB +/m);
  expect(table).toContain(path);
  expect(table!.match(/not in the cache/g)).toHaveLength(8);
  expect(table).toContain('CC BY-NC-SA 4.0');
});

it('prints the path of what is there, and nothing else', async () => {
  const path = keep('edm-cifar10-32x32-uncond-ve');
  expect(await fetchCommand.run({}, ['edm-cifar10-32x32-uncond-ve'])).toBe(0);
  expect(printed).toEqual([path]);
});

it('throws our error for what cannot be fetched, and answers 2 where the reference is missing', async () => {
  await expect(fetchCommand.run({}, ['edm-cifar10-32x32-uncond-vp'])).rejects.toMatchObject({ code: 'E_DOWNLOAD_OFFLINE' });
  expect(await fetchCommand.run({}, [])).toBe(2);
});

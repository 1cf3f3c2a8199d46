import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { parseHubReference } from './hugging-face.js';
import { chooseFiles } from './repository-files.js';
import { resolveReference } from './resolve-reference.js';
import { COMMIT, hub } from './test-hub.js';
import { cleanEnvironment, content, HASTY, setEnvironment, temporaryDirectory } from './test-support.js';

const header = Buffer.from(JSON.stringify({ a: { dtype: 'U8', shape: [9_000], data_offsets: [0, 9_000] } }));
const length = Buffer.alloc(8);
length.writeUInt32LE(header.length);
const SAFETENSORS = Buffer.concat([length, header, content(9_000)]);
const CONFIG = Buffer.from('{"_class_name": "UNet2DModel"}');

let cacheDir: string;
beforeEach(() => {
  cleanEnvironment();
  setEnvironment({ ONESTEP_OFFLINE: undefined, HF_HUB_OFFLINE: undefined, HF_TOKEN: undefined, HF_ENDPOINT: undefined });
  cacheDir = temporaryDirectory();
});

const resolve = (reference: string, options = {}) =>
  resolveReference(reference, { ...HASTY, cacheDir, onProgress: () => {}, onMessage: () => {}, ...options });

describe('a file of a repository', () => {
  it.each(['lfs', 'xet', 'inline'] as const)('kept as %s comes through plain HTTP and is checked', async (storage) => {
    const { server } = await hub({ 'deep dir/w.safetensors': SAFETENSORS }, { storage });
    const path = await resolve('hf:team/net/deep dir/w.safetensors');
    expect(path).toBe(join(cacheDir, 'downloads', 'huggingface', 'team', 'net', COMMIT, 'deep dir', 'w.safetensors'));
    expect(readFileSync(path).equals(SAFETENSORS)).toBe(true);
    const asked = server.requests.length;
    expect(await resolve('hf:team/net/deep dir/w.safetensors', { offline: true })).toBe(path);
    expect(server.requests).toHaveLength(asked);
  });

  it.each(['lfs', 'xet'] as const)('kept as %s with other bytes is refused by its checksum', async (storage) => {
    await hub({ 'w.safetensors': SAFETENSORS }, { storage, corrupt: true });
    await expect(resolve('hf:team/net/w.safetensors')).rejects.toMatchObject({ code: 'E_DOWNLOAD_CHECKSUM' });
    expect(existsSync(join(cacheDir, 'downloads', 'huggingface', 'team', 'net', COMMIT, 'w.safetensors'))).toBe(false);
  });

  it.each(['lfs', 'inline'] as const)('kept as %s by a mirror without ranges is checked by the listing', async (storage) => {
    const { server } = await hub(
      { 'a.txt': CONFIG, 'w.safetensors': SAFETENSORS },
      { storage, withoutRanges: true, corrupt: storage === 'lfs' },
    );
    const fetching = resolve('hf:team/net/w.safetensors');
    if (storage === 'lfs') await expect(fetching).rejects.toMatchObject({ code: 'E_DOWNLOAD_CHECKSUM' });
    else expect(readFileSync(await fetching).equals(SAFETENSORS)).toBe(true);
    expect(server.requests.some(({ url }) => url.includes('/tree/main'))).toBe(true);
  });

  it('of a revision with a slash is asked for by it', async () => {
    const { server } = await hub({ 'w.safetensors': SAFETENSORS });
    await resolve('hf:team/net/w.safetensors@v1/x');
    expect(server.requests[0]!.url).toBe('/team/net/resolve/v1%2Fx/w.safetensors');
    expect(server.requests.at(-1)!.url).toBe(`/team/net/resolve/${COMMIT}/w.safetensors`);
  });

  it('that is not there lists those that are', async () => {
    await hub({ 'a.safetensors': SAFETENSORS, 'b.safetensors': SAFETENSORS, 'README.md': CONFIG });
    await expect(resolve('hf:team/net/c.pth')).rejects.toMatchObject({
      code: 'E_DOWNLOAD_ABSENT',
      message: expect.stringMatching(
        /c\.pth'[^]* {2}a\.safetensors {2}9\.\d+ kB\n {2}b\.safetensors[^]*README\.md[^]*help: name one: hf:team\/net\/FILE/,
      ),
    });
  });

  it('is asked for again while the hub is busy', async () => {
    const { server } = await hub({ 'w.safetensors': SAFETENSORS }, { failFirst: 2 });
    await resolve('hf:team/net/w.safetensors');
    expect(server.requests.length).toBe(4);
  });
});

describe('a repository without a file named', () => {
  it('with a diffusers folder gives the folder, and the plain file of its variants', async () => {
    await hub({
      'unet/config.json': CONFIG,
      'unet/diffusion_pytorch_model.fp16.safetensors': content(2_000),
      'unet/diffusion_pytorch_model.safetensors': SAFETENSORS,
      'scheduler/scheduler_config.json': CONFIG,
    });
    const path = await resolve('hf:team/net');
    expect(path).toBe(join(cacheDir, 'downloads', 'huggingface', 'team', 'net', COMMIT, 'unet'));
    expect(readFileSync(join(path, 'config.json')).equals(CONFIG)).toBe(true);
    expect(readFileSync(join(path, 'diffusion_pytorch_model.safetensors')).equals(SAFETENSORS)).toBe(true);
    expect(existsSync(join(path, 'diffusion_pytorch_model.fp16.safetensors'))).toBe(false);
    expect(await resolve('hf:team/net', { offline: true })).toBe(path);

    rmSync(join(path, 'diffusion_pytorch_model.safetensors'));
    await expect(resolve('hf:team/net', { offline: true })).rejects.toMatchObject({
      code: 'E_DOWNLOAD_OFFLINE',
      help: expect.stringContaining(join(path, 'diffusion_pytorch_model.safetensors')),
    });
  });

  it('and a folder named gives that folder', async () => {
    await hub({ 'one/config.json': CONFIG, 'one/model.safetensors': SAFETENSORS, 'two/model.safetensors': SAFETENSORS });
    expect(await resolve('hf:team/net/one')).toMatch(/one$/);
  });

  it('and with one file of weights gives it', async () => {
    await hub({ 'README.md': CONFIG, 'nets/w.safetensors': SAFETENSORS });
    expect(readFileSync(await resolve('hf:team/net')).equals(SAFETENSORS)).toBe(true);
  });

  it('and with several lists them', async () => {
    await hub({ 'a.pkl': SAFETENSORS, 'b.pth': SAFETENSORS });
    await expect(resolve('hf:team/net')).rejects.toMatchObject({ code: 'E_DOWNLOAD_ABSENT', message: expect.stringContaining('b.pth') });
  });

  it('offline is taken where it was put by hand', async () => {
    const folder = join(cacheDir, 'downloads', 'huggingface', 'team', 'net', 'main');
    await expect(resolve('hf:team/net', { offline: true })).rejects.toMatchObject({ help: expect.stringContaining(folder) });
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'config.json'), CONFIG);
    expect(await resolve('hf:team/net', { offline: true })).toBe(folder);
  });
});

describe('access', () => {
  it('settings that no request can be made of are named, the token is not shown', async () => {
    setEnvironment({ HF_TOKEN: 'hf_secret\nhf_other' });
    const error: unknown = await resolve('hf:team/net').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_SETTINGS', help: expect.stringContaining('HF_TOKEN') });
    expect((error as Error).message).not.toContain('secret');
    for (const address of ['nonsense', 'ftp://mirror.example', 'https://']) {
      setEnvironment({ HF_TOKEN: undefined, HF_ENDPOINT: address });
      await expect(resolve('hf:team/net')).rejects.toMatchObject({
        code: 'E_DOWNLOAD_SETTINGS',
        message: expect.stringContaining(`'${address}'`),
      });
    }
  });

  it('is by HF_TOKEN, which only the hub sees', async () => {
    const { server, store } = await hub({ 'w.safetensors': SAFETENSORS }, { token: 'hf_mine' });
    setEnvironment({ HF_TOKEN: 'hf_mine' });
    await resolve('hf:team/net/w.safetensors');
    expect(new Set(server.requests.map(({ headers }) => headers.authorization))).toEqual(new Set(['Bearer hf_mine']));
    expect(store.requests.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  });

  it.each([
    ['without a token', undefined, 401, 'set HF_TOKEN'],
    ['with the wrong one', 'hf_other', 403, 'HF_TOKEN is set, but'],
  ])('%s is refused with what to do', async (_, token, status, help) => {
    const { server } = await hub({ 'w.safetensors': SAFETENSORS }, { token: 'hf_mine' });
    setEnvironment({ HF_TOKEN: token });
    const error = await resolve('hf:team/net/w.safetensors').catch((error: Error) => error);
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_FORBIDDEN', message: expect.stringContaining(`answered ${status}`) });
    expect(String(error)).toContain('Access to this model is restricted');
    expect(String(error)).toContain(help);
    expect(String(error)).not.toContain('hf_other');
    expect(server.requests).toHaveLength(1);
  });

  it('to a repository or revision that does not exist says so', async () => {
    await hub({ 'w.safetensors': SAFETENSORS });
    for (const reference of ['hf:team/other/w.safetensors', 'hf:team/net/w.safetensors@v9'])
      await expect(resolve(reference)).rejects.toMatchObject({
        code: 'E_DOWNLOAD_ABSENT',
        help: expect.stringMatching(/not found|Invalid rev/),
      });
  });

  it('to something that is no hub says so', async () => {
    await hub({}, { page: 200 });
    await expect(resolve('hf:team/net')).rejects.toMatchObject({ code: 'E_DOWNLOAD_PAGE', help: expect.stringContaining('HF_ENDPOINT') });
  });
});

describe('parseHubReference', () => {
  it.each([
    ['hf:a/b', { repository: 'a/b', file: undefined, revision: 'main' }],
    ['hf:a/b@v2', { repository: 'a/b', file: undefined, revision: 'v2' }],
    ['hf:a/b.c/d/e.pkl@refs/pr/1', { repository: 'a/b.c', file: 'd/e.pkl', revision: 'refs/pr/1' }],
  ])('%s', (reference, parts) => expect(parseHubReference(reference)).toEqual(parts));

  it.each(['hf:', 'hf:a', 'hf:a/b/../../c', 'hf:../b', 'hf:a/b@', 'hf:a//b', 'hf:a/b/c\\..\\d'])('%s is none', (reference) =>
    expect(() => parseHubReference(reference)).toThrow(expect.objectContaining({ code: 'E_DOWNLOAD_REFERENCE' })),
  );
});

it('chooseFiles brings the scheduler of a diffusers network, and PyTorch weights where there are no safetensors', () => {
  const listing = (...paths: string[]) => paths.map((path) => ({ path, size: 1 }));
  const chosen = (...paths: string[]) => chooseFiles(listing(...paths))?.files.map(({ path }) => path);
  const flat = ['config.json', 'diffusion_pytorch_model.bin', 'scheduler_config.json'];
  expect(chosen('model_index.json', ...flat)).toEqual(flat);
  const nested = ['unet/config.json', 'unet/diffusion_pytorch_model.safetensors', 'scheduler/scheduler_config.json'];
  expect(chosen('unet/diffusion_pytorch_model.bin', 'vae/config.json', ...nested)).toEqual(nested);
});

it('chooseFiles takes the shards of an index together', () => {
  const files = ['config.json', 'model.safetensors.index.json', 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  const all = [...files, 'model.fp16-00001-of-00001.safetensors'].map((path) => ({ path, size: 1 }));
  expect(chooseFiles(all)).toMatchObject({ path: '', kind: 'folder', files: files.map((path) => ({ path })) });
});

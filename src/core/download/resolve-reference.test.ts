import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { nearest, resolveReference, type PublishedFile } from './resolve-reference.js';
import { cleanEnvironment, content, HASTY, sendFile, serve, setEnvironment, temporaryDirectory } from './test-support.js';

const PICKLE = Buffer.concat([Buffer.from([0x80, 4]), content(5_000), Buffer.from('.')]);

let cacheDir: string;
beforeEach(() => {
  cleanEnvironment();
  setEnvironment({ ONESTEP_OFFLINE: undefined, HF_HUB_OFFLINE: undefined });
  cacheDir = temporaryDirectory();
});

const quiet = () => ({ ...HASTY, cacheDir, onProgress: () => {}, onMessage: () => {} });

const published = (origin: string, more: Partial<PublishedFile> = {}): Record<string, PublishedFile> => ({
  'edm-one-ve': { address: `${origin}/edm-one-ve.pkl`, fileName: 'edm-one-ve.pkl', format: 'pickle', licence: 'CC of somebody', ...more },
  'edm-one-vp': { address: `${origin}/edm-one-vp.pkl`, fileName: 'edm-one-vp.pkl' },
});

describe('a path', () => {
  it('that exists stays what it is, whatever it looks like', async () => {
    const path = join(cacheDir, 'edm-one-ve');
    writeFileSync(path, '');
    expect(await resolveReference(path, { ...quiet(), offline: true })).toBe(path);
    expect(await resolveReference(cacheDir)).toBe(cacheDir);
  });

  it.each(['./no.pkl', 'no/such/file', 'weights.safetensors'])('that does not (%s) is an error about a file', async (path) => {
    await expect(resolveReference(path, { ...quiet(), published: published('http://x') })).rejects.toMatchObject({ code: 'E_FILE_ABSENT' });
  });

  it('that has the name of a published file is told that name', async () => {
    await expect(resolveReference('models/edm-one-ve.pkl', { ...quiet(), published: published('http://x') })).rejects.toMatchObject({
      code: 'E_FILE_ABSENT',
      help: expect.stringContaining('edm-one-ve without an ending'),
    });
  });
});

describe('a published name', () => {
  it('is fetched once, after its licence was said', async () => {
    const said: string[] = [];
    const server = await serve((request, response) => {
      expect(said).toEqual(['edm-one-ve: CC of somebody']);
      sendFile(request, response, PICKLE);
    });
    const options = { ...quiet(), published: published(server.origin), onMessage: (line: string) => said.push(line) };
    const path = await resolveReference('edm-one-ve', options);
    expect(path).toBe(join(cacheDir, 'downloads', 'published', 'edm-one-ve.pkl'));
    expect(readFileSync(path).equals(PICKLE)).toBe(true);
    expect(await resolveReference('edm-one-ve', { ...options, offline: true })).toBe(path);
    expect([server.requests.length, said.length]).toEqual([1, 1]);
  });

  it.each([
    ['something else', content(5_000, 3).fill(7, 0, 4), 'it begins with the bytes 07070707'],
    ['no end', PICKLE.subarray(0, -1), 'its end is missing'],
    ['nothing', Buffer.alloc(0), 'it is empty'],
  ])('under whose address comes %s leaves no file', async (_, bytes, message) => {
    const server = await serve((_, response) => response.writeHead(200, { 'content-length': bytes.length }).end(bytes));
    const fetching = resolveReference('edm-one-ve', { ...quiet(), published: published(server.origin) });
    await expect(fetching).rejects.toMatchObject({ code: 'E_DOWNLOAD_FORMAT', message: expect.stringContaining(message) });
    expect(existsSync(join(cacheDir, 'downloads', 'published', 'edm-one-ve.pkl'))).toBe(false);
  });

  it.each([
    ['ONESTEP_OFFLINE', { ONESTEP_OFFLINE: '1' }, undefined],
    ['HF_HUB_OFFLINE', { HF_HUB_OFFLINE: 'TRUE' }, undefined],
    ['the option offline', {}, true],
  ])('offline (%s) says what is needed and where to put it, without a connection', async (why, environment, offline) => {
    setEnvironment(environment);
    const server = await serve((request, response) => sendFile(request, response, PICKLE));
    const options = { ...quiet(), published: published(server.origin), offline };
    const error = await resolveReference('edm-one-ve', options).catch((error: Error) => error);
    const place = join(cacheDir, 'downloads', 'published', 'edm-one-ve.pkl');
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_OFFLINE', help: expect.stringContaining(place) });
    expect(String(error)).toContain(why);
    expect(String(error)).toContain(`${server.origin}/edm-one-ve.pkl`);
    expect(server.requests).toEqual([]);
    mkdirSync(dirname(place), { recursive: true });
    writeFileSync(place, PICKLE);
    expect(await resolveReference('edm-one-ve', options)).toBe(place);
  });

  it('with a wrong letter gets the nearest and the list', async () => {
    await expect(resolveReference('edm-one-vx', { ...quiet(), published: published('http://x') })).rejects.toMatchObject({
      code: 'E_DOWNLOAD_NAME',
      message: expect.stringMatching(/ {2}edm-one-ve\n {2}edm-one-vp\nhelp: did you mean edm-one-ve or edm-one-vp\?/),
    });
  });
});

describe('an address', () => {
  it('is kept under its last part; one of the same name is another file', async () => {
    const server = await serve((request, response) => sendFile(request, response, content(1_000, request.url!.length)));
    const one = await resolveReference(`${server.origin}/one/w%20%2f..bin?key=1#part`, quiet());
    const two = await resolveReference(`${server.origin}/three/w%20%2f..bin?key=1`, quiet());
    expect(basename(one)).toBe('w__..bin');
    expect(one.startsWith(join(cacheDir, 'downloads') + '/')).toBe(true);
    expect(one).not.toBe(two);
    expect(await resolveReference(`${server.origin}/one/w%20%2f..bin?key=1`, quiet())).toBe(one);
    expect(server.requests).toHaveLength(2);
  });

  it('that ends in safetensors or zip must be whole', async () => {
    const header = Buffer.from(JSON.stringify({ a: { dtype: 'F32', shape: [4], data_offsets: [0, 16] } }));
    const length = Buffer.alloc(8);
    length.writeUInt32LE(header.length);
    const file = Buffer.concat([length, header, Buffer.alloc(16)]);
    const server = await serve((request, response) => response.end(request.url!.startsWith('/whole') ? file : file.subarray(0, -1)));
    expect(readFileSync(await resolveReference(`${server.origin}/whole.safetensors`, quiet())).equals(file)).toBe(true);
    await expect(resolveReference(`${server.origin}/cut.safetensors`, quiet())).rejects.toMatchObject({ code: 'E_DOWNLOAD_FORMAT' });
    await expect(resolveReference(`${server.origin}/none.zip`, quiet())).rejects.toMatchObject({ code: 'E_DOWNLOAD_FORMAT' });
  });

  it('offline says where to put the file', async () => {
    const error = await resolveReference('https://weights.example/a/w.bin?sig=secret', { ...quiet(), offline: true }).catch(
      (e: Error) => e,
    );
    expect(error).toMatchObject({
      code: 'E_DOWNLOAD_OFFLINE',
      help: expect.stringMatching(/downloads\/weights\.example\/[0-9a-f]{12}\/w\.bin/),
    });
    expect(String(error)).not.toContain('secret');
  });

  it.each(['ftp://host/file', 's3://bucket/file', 'https://'])('of another kind (%s) is refused', async (reference) => {
    await expect(resolveReference(reference, quiet())).rejects.toMatchObject({ code: 'E_DOWNLOAD_REFERENCE' });
  });
});

it('nearest gives what takes few changes, at most three', () => {
  const names = ['alpha-one', 'alpha-two', 'alpha-onf', 'alpha-ong', 'alpha-onh'];
  expect(nearest('alpha-one', names)[0]).toBe('alpha-one');
  expect(nearest('ALPHA-ON', names)).toEqual(['alpha-one', 'alpha-onf', 'alpha-ong']);
  expect(nearest('omega', names)).toEqual([]);
});

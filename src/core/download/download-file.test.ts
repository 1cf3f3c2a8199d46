import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { deflateSync, gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { downloadFile, type DownloadOptions } from './download-file.js';
import type { DownloadProgress } from './progress.js';
import { cleanEnvironment, content, HASTY, sendFile, serve, setEnvironment, temporaryDirectory, type Handler } from './test-support.js';

const FILE = content(200_000);
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

let path: string;
beforeEach(() => {
  cleanEnvironment();
  path = join(temporaryDirectory(), 'deep', 'weights.bin');
});

const left = () => readdirSync(dirname(path)).sort();

/** Downloads from a server of `handler`; says what was asked and what came out. */
async function fetchFrom(handler: Handler, options: DownloadOptions = {}) {
  const server = await serve(handler);
  const messages: string[] = [];
  const outcome = await downloadFile(`${server.origin}/weights.bin`, path, {
    ...HASTY,
    onMessage: (line) => messages.push(line),
    ...options,
  }).then(
    () => undefined,
    (error: Error & { code?: string }) => error,
  );
  return { server, messages, error: outcome, ranges: server.requests.map(({ headers }) => headers.range) };
}

describe('a file', () => {
  it('arrives whole, alone in its folder, with progress', async () => {
    const reports: DownloadProgress[] = [];
    const { error, server } = await fetchFrom((request, response) => sendFile(request, response, FILE), {
      onProgress: (report) => reports.push(report),
    });
    expect(error).toBeUndefined();
    expect(readFileSync(path).equals(FILE)).toBe(true);
    expect(left()).toEqual(['weights.bin']);
    expect(server.requests[0]!.headers['accept-encoding']).toBe('identity');
    expect(reports[0]).toMatchObject({ file: 'weights.bin', bytes: 0, total: FILE.length, done: false });
    expect(reports.at(-1)).toMatchObject({ bytes: FILE.length, total: FILE.length, done: true });
  });

  it('that is there already is not asked for', async () => {
    mkdirSync(dirname(path));
    writeFileSync(path, 'mine');
    const { server } = await fetchFrom((request, response) => sendFile(request, response, FILE));
    expect([server.requests.length, readFileSync(path, 'utf8')]).toEqual([0, 'mine']);
  });

  it('is fetched once by two at a time', async () => {
    const server = await serve((request, response) => setTimeout(() => sendFile(request, response, FILE), 50));
    const messages: string[] = [];
    const fetch = () => downloadFile(`${server.origin}/w`, path, { ...HASTY, onMessage: (line) => messages.push(line) });
    expect(await Promise.all([fetch(), fetch()])).toEqual([path, path]);
    expect(server.requests).toHaveLength(1);
    expect(messages).toEqual([expect.stringContaining(`process ${process.pid} on ${hostname()}`)]);
    expect(readFileSync(path).equals(FILE)).toBe(true);
  });

  it.each([
    ['gzip', gzipSync(FILE)],
    ['deflate', deflateSync(FILE)],
  ])('that comes compressed as %s though nobody asked is unpacked', async (encoding, bytes) => {
    const { error } = await fetchFrom((_, response) =>
      response.writeHead(200, { 'content-encoding': encoding, 'content-length': bytes.length, etag: '"z"' }).end(bytes),
    );
    expect(error).toBeUndefined();
    expect(readFileSync(path).equals(FILE)).toBe(true);
  });

  it('that comes compressed and cut is fetched anew, not joined', async () => {
    const packed = gzipSync(FILE);
    const { error, ranges } = await fetchFrom((request, response, count) =>
      sendFile(request, response, packed, { cutAfter: count === 0 ? 100_000 : undefined, headers: { 'content-encoding': 'gzip' } }),
    );
    expect([error, ranges]).toEqual([undefined, [undefined, undefined]]);
    expect(readFileSync(path).equals(FILE)).toBe(true);
  });

  it('of an unknown compression is refused', async () => {
    const { error } = await fetchFrom((_, response) => response.writeHead(200, { 'content-encoding': 'zigzag' }).end('xyz'));
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_ENCODING', message: expect.stringContaining('zigzag') });
  });

  it('comes through redirects, and a token goes to the first server alone', async () => {
    const store = await serve((request, response) => sendFile(request, response, FILE));
    const { error, server } = await fetchFrom(
      (request, response) =>
        response.writeHead(302, { location: request.url === '/weights.bin' ? '/next' : `${store.origin}/file?sig=1` }).end(),
      { headers: { authorization: 'Bearer secret' } },
    );
    expect(error).toBeUndefined();
    expect(server.requests.map(({ url, headers }) => [url, headers.authorization])).toEqual([
      ['/weights.bin', 'Bearer secret'],
      ['/next', 'Bearer secret'],
    ]);
    expect(store.requests.map(({ url, headers }) => [url, headers.authorization])).toEqual([['/file?sig=1', undefined]]);
  });

  it.each([
    ['in circles', '/weights.bin', 'more than 10 redirects'],
    ['out of the web', 'file:///etc/passwd', 'redirected to file:'],
  ])('whose redirects lead %s is refused', async (_, location, message) => {
    const { error } = await fetchFrom((_, response) => response.writeHead(301, { location }).end());
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_REDIRECT', message: expect.stringContaining(message) });
  });

  it('with a login in its address sends it, and shows neither it nor a signature', async () => {
    const server = await serve((_, response) => response.writeHead(403).end());
    const address = `${server.origin.replace('http://', 'http://me:pass@')}/f?sig=hidden`;
    const error = await downloadFile(address, path, HASTY).catch((error: Error) => error);
    expect(server.requests[0]!.headers.authorization).toBe(`Basic ${Buffer.from('me:pass').toString('base64')}`);
    expect(String(error)).toContain(`${server.origin}/f?…`);
    expect(String(error)).not.toMatch(/pass|hidden/);
  });
});

describe('a cut connection', () => {
  it('is taken up where it was cut, as often as something comes through', async () => {
    const { error, server, ranges } = await fetchFrom((request, response) => sendFile(request, response, FILE, { cutAfter: 20_000 }), {
      retries: 1,
    });
    expect(error).toBeUndefined();
    expect(readFileSync(path).equals(FILE)).toBe(true);
    expect(ranges.slice(0, 3)).toEqual([undefined, 'bytes=20000-', 'bytes=40000-']);
    expect(server.requests[1]!.headers['if-range']).toBe('"one"');
  });

  it('ends after the retries where nothing more comes, and keeps what came', async () => {
    const { error, messages, ranges } = await fetchFrom((request, response, count) => {
      if (count === 0) sendFile(request, response, FILE, { cutAfter: 50_000 });
      else response.destroy();
    });
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_UNREACHABLE' });
    expect(ranges).toHaveLength(1 + 3);
    expect(messages[0]).toContain('50.0 kB of 200 kB');
    expect(left()).toEqual(['weights.bin.part', 'weights.bin.part.json']);
    expect(readFileSync(`${path}.part`).equals(FILE.subarray(0, 50_000))).toBe(true);
  });

  it('of an answer without a length that is not ended is noticed', async () => {
    const { error } = await fetchFrom((_, response, count) => {
      response.writeHead(200, { etag: '"one"' });
      if (count > 0) response.end(FILE);
      else response.write(FILE.subarray(0, 9_000), () => setTimeout(() => response.destroy(), 5));
    });
    expect(error).toBeUndefined();
    expect(readFileSync(path).equals(FILE)).toBe(true);
  });
});

describe('an earlier part', () => {
  const interrupted = async (etag: string | undefined, key = 'weights.bin') => {
    const headers: Record<string, string> = etag === undefined ? {} : { etag };
    const state = { file: FILE, etag, stop: true };
    const server = await serve((request, response) => {
      if (!state.stop) return sendFile(request, response, state.file, { etag: state.etag ?? 'W/"none"' });
      response.writeHead(200, { 'content-length': FILE.length, ...headers });
      response.write(FILE.subarray(0, 50_000), () => setTimeout(() => response.destroy(), 5));
    });
    const address = `${server.origin}/${key}`;
    await downloadFile(address, path, { ...HASTY, retries: 0 }).catch(() => {});
    state.stop = false;
    server.requests.length = 0;
    return { state, server, address };
  };

  it('is gone on with by the next process', async () => {
    const { server, address } = await interrupted('"a"');
    await downloadFile(address, path, HASTY);
    expect(server.requests.map(({ headers }) => [headers.range, headers['if-range']])).toEqual([['bytes=50000-', '"a"']]);
    expect(readFileSync(path).equals(FILE)).toBe(true);
    expect(left()).toEqual(['weights.bin']);
  });

  it('is dropped where the file has changed since', async () => {
    const { state, address } = await interrupted('"a"');
    Object.assign(state, { file: content(200_000, 2), etag: '"b"' });
    await downloadFile(address, path, HASTY);
    expect(readFileSync(path).equals(content(200_000, 2))).toBe(true);
  });

  it('is dropped where the server promises nothing: no tag, or a weak one', async () => {
    for (const etag of [undefined, 'W/"a"']) {
      const { server, address } = await interrupted(etag, `no-${etag}`);
      await downloadFile(address, path, HASTY);
      expect(server.requests.map(({ headers }) => headers.range)).toEqual([undefined]);
      expect(readFileSync(path).equals(FILE)).toBe(true);
      path = join(temporaryDirectory(), 'again', 'weights.bin');
    }
  });

  it('is gone on with by a checksum alone, and dropped where that does not fit', async () => {
    const { server, address } = await interrupted(undefined);
    writeFileSync(`${path}.part`, Buffer.concat([FILE.subarray(0, 49_999), Buffer.from('!')]));
    await downloadFile(address, path, { ...HASTY, sha256: sha256(FILE) });
    expect(server.requests.map(({ headers }) => headers.range)).toEqual(['bytes=50000-', undefined]);
    expect(readFileSync(path).equals(FILE)).toBe(true);
  });

  it.each(['{"url": 3}', 'not JSON'])('with a damaged note (%s) is dropped', async (note) => {
    const { server, address } = await interrupted('"a"');
    writeFileSync(`${path}.part.json`, note);
    await downloadFile(address, path, HASTY);
    expect(server.requests.map(({ headers }) => headers.range)).toEqual([undefined]);
    expect(readFileSync(path).equals(FILE)).toBe(true);
  });

  it('that is whole already is not asked for again', async () => {
    const { server, address } = await interrupted('"a"');
    writeFileSync(`${path}.part`, FILE);
    await downloadFile(address, path, HASTY);
    expect([server.requests.length, readFileSync(path).equals(FILE)]).toEqual([0, true]);
  });
});

describe('a server that lies', () => {
  const resuming =
    (second: Handler): Handler =>
    (request, response, count) =>
      count === 0 ? sendFile(request, response, FILE, { cutAfter: 50_000 }) : second(request, response, count);

  it('and ignores Range: the whole file is taken', async () => {
    const { error, messages } = await fetchFrom(
      resuming((_, response) => response.writeHead(200, { 'content-length': FILE.length }).end(FILE)),
    );
    expect(error).toBeUndefined();
    expect(readFileSync(path).equals(FILE)).toBe(true);
    expect(messages.at(-1)).toContain('anew');
  });

  it.each([
    ['another start', 'bytes 40000-199999/200000', {}],
    ['another length', 'bytes 50000-199999/300000', {}],
    ['another version', 'bytes 50000-199999/200000', { etag: '"two"' }],
    ['no Content-Range', undefined, {}],
  ])('and answers a Range with %s: it starts anew', async (_, range, headers) => {
    const { error, ranges } = await fetchFrom(
      resuming((request, response, count) => {
        if (count > 1) return sendFile(request, response, FILE);
        response.writeHead(206, { ...headers, ...(range !== undefined && { 'content-range': range }) }).end(content(150_000, 7));
      }),
    );
    expect([error, ranges]).toEqual([undefined, [undefined, 'bytes=50000-', undefined]]);
    expect(readFileSync(path).equals(FILE)).toBe(true);
  });

  it('and answers less of a Range than is left: the rest is asked for', async () => {
    const { error, ranges } = await fetchFrom(
      resuming((request, response) => {
        const start = Number(/\d+/.exec(request.headers.range!)![0]);
        const end = Math.min(FILE.length, start + 60_000);
        response
          .writeHead(206, { 'content-range': `bytes ${start}-${end - 1}/${FILE.length}`, 'content-length': end - start })
          .end(FILE.subarray(start, end));
      }),
    );
    expect([error, ranges.slice(1)]).toEqual([undefined, ['bytes=50000-', 'bytes=110000-', 'bytes=170000-']]);
    expect(readFileSync(path).equals(FILE)).toBe(true);
  });

  it('and sends a part unasked', async () => {
    const { error } = await fetchFrom((_, response) =>
      response.writeHead(206, { 'content-range': 'bytes 0-9/200' }).end(FILE.subarray(0, 10)),
    );
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_LENGTH' });
    expect(left()).toEqual([]);
  });

  it('and announces more than comes: no file', async () => {
    const { error } = await fetchFrom((_, response) => {
      response.writeHead(200, { 'content-length': 300_000, etag: '"x"' });
      response.write(FILE, () => setTimeout(() => response.destroy(), 5));
    });
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_UNREACHABLE' });
    expect(existsSync(path)).toBe(false);
  });

  it('and sends more or less than the file has', async () => {
    const more = await fetchFrom((_, response) => response.writeHead(200).end(FILE), { bytes: 100_000 });
    expect(more.error).toMatchObject({ code: 'E_DOWNLOAD_LENGTH', message: expect.stringContaining('more bytes came than the 100000') });
    const less = await fetchFrom((_, response) => response.writeHead(200).end(FILE), { bytes: 300_000 });
    expect(less.error).toMatchObject({ code: 'E_DOWNLOAD_LENGTH', message: expect.stringContaining('200000 of 300000') });
    const says = await fetchFrom((request, response) => sendFile(request, response, FILE), { bytes: 100_000 });
    expect(says.error).toMatchObject({ code: 'E_DOWNLOAD_LENGTH', message: expect.stringContaining('the server says 200000') });
    expect(existsSync(path)).toBe(false);
  });

  it('and breaks the protocol', async () => {
    const { error } = await fetchFrom((request) =>
      request.socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 9\r\n\r\nhello'),
    );
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_UNREACHABLE' });
    expect(existsSync(path)).toBe(false);
  });

  it('and says that a file ends before what is there: it starts anew', async () => {
    const { error, ranges } = await fetchFrom(
      resuming((request, response, count) => {
        if (count === 1) response.writeHead(416, { 'content-range': 'bytes */10' }).end();
        else sendFile(request, response, FILE);
      }),
    );
    expect([error, ranges.at(-1)]).toEqual([undefined, undefined]);
    expect(readFileSync(path).equals(FILE)).toBe(true);
  });

  it('and sends other bytes: they are deleted', async () => {
    const { error, server } = await fetchFrom((request, response) => sendFile(request, response, FILE), { sha256: '0'.repeat(64) });
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_CHECKSUM', message: expect.stringMatching(/deleted\n.*0{64}\n.*[0-9a-f]{64}/) });
    expect([server.requests.length, left()]).toEqual([1, []]);
  });

  it.each([
    ['by its type', 'text/html; charset=utf-8', '<html><title>Log in\n here</title>'],
    ['by its beginning', 'application/octet-stream', '\ufeff \n <!doctype html><title>Log in here</title>'],
  ])('and sends a web page, told %s', async (_, type, page) => {
    const { error, server } = await fetchFrom((_, response) => response.writeHead(200, { 'content-type': type }).end(page));
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_PAGE', message: expect.stringContaining("titled 'Log in here'") });
    expect([server.requests.length, left()]).toEqual([1, []]);
  });
});

describe('a server that', () => {
  it.each([
    [404, 'E_DOWNLOAD_ABSENT'],
    [410, 'E_DOWNLOAD_ABSENT'],
    [401, 'E_DOWNLOAD_FORBIDDEN'],
    [403, 'E_DOWNLOAD_FORBIDDEN'],
    [400, 'E_DOWNLOAD_REFUSED'],
  ])('answers %d is asked once', async (status, code) => {
    const { error, server } = await fetchFrom((_, response) => response.writeHead(status).end('no'), { help: 'do this' });
    expect(error).toMatchObject({ code, message: expect.stringMatching(/weights\.bin: the server answered \d+.*\nhelp: do this$/) });
    expect(server.requests).toHaveLength(1);
  });

  it.each([500, 503, 429, 408])('answers %d is asked again', async (status) => {
    const { error, server } = await fetchFrom((request, response, count) =>
      count < 2 ? void response.writeHead(status).end() : sendFile(request, response, FILE),
    );
    expect([error, server.requests.length]).toEqual([undefined, 3]);
    expect(readFileSync(path).equals(FILE)).toBe(true);
  });

  it('stays out of order is given up', async () => {
    const { error, server, messages } = await fetchFrom((_, response) => response.writeHead(502).end());
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_BUSY', message: expect.stringContaining('502') });
    expect([server.requests.length, messages.length]).toEqual([4, 3]);
    expect(messages[2]).toContain('(3 of 3)');
  });

  it('asks to wait is waited for, if it is not too long', async () => {
    const started = performance.now();
    const soon = await fetchFrom((request, response, count) =>
      count === 0 ? void response.writeHead(429, { 'retry-after': '1' }).end() : sendFile(request, response, FILE),
    );
    expect(soon.error).toBeUndefined();
    expect(performance.now() - started).toBeGreaterThan(990);
    expect(soon.messages[0]).toContain('trying again in 1 s');

    path += '2';
    const late = await fetchFrom((_, response) => response.writeHead(429, { 'retry-after': '3600' }).end());
    expect(late.error).toMatchObject({ code: 'E_DOWNLOAD_BUSY', message: expect.stringContaining('60 minutes') });
    expect(late.server.requests).toHaveLength(1);
  });

  it('falls silent is cut off, before or after its headers', async () => {
    const { error, ranges } = await fetchFrom(
      (request, response, count) => {
        if (count === 0) return; // no headers
        if (count === 1) {
          response.writeHead(200, { 'content-length': FILE.length, etag: '"one"' });
          response.write(FILE.subarray(0, 30_000));
        } else sendFile(request, response, FILE);
      },
      { idleMilliseconds: 150 },
    );
    expect(error).toBeUndefined();
    expect(ranges).toEqual([undefined, undefined, 'bytes=30000-']);
    expect(readFileSync(path).equals(FILE)).toBe(true);
  });

  it('is not there is said so', async () => {
    const server = await serve(() => {});
    await new Promise((resolve) => server.server.close(resolve));
    await expect(downloadFile(`${server.origin}/w`, path, { ...HASTY, retries: 1 })).rejects.toMatchObject({
      code: 'E_DOWNLOAD_UNREACHABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });
});

describe('stopping', () => {
  it('by a signal keeps the part, frees the lock and throws the reason', async () => {
    const stop = new AbortController();
    const reason = new Error('interrupted');
    const server = await serve((request, response) => {
      if (request.headers.range !== undefined) return sendFile(request, response, FILE);
      response.writeHead(200, { 'content-length': FILE.length, etag: '"one"' });
      response.write(FILE.subarray(0, 64_000));
    });
    const partPath = `${path}.part`;
    const downloading = downloadFile(`${server.origin}/w`, path, { ...HASTY, signal: stop.signal });
    void (async () => {
      while (!existsSync(partPath) || readFileSync(partPath).length < 64_000) await sleep(5);
      stop.abort(reason);
    })();
    await expect(downloading).rejects.toBe(reason);
    expect(left()).toEqual(['weights.bin.part', 'weights.bin.part.json']);
    await downloadFile(`${server.origin}/w`, path, HASTY);
    expect(server.requests.map(({ headers }) => headers.range)).toEqual([undefined, 'bytes=64000-']);
    expect(readFileSync(path).equals(FILE)).toBe(true);
  });

  it('during a wait does not wait', async () => {
    const stop = new AbortController();
    const reason = new Error('interrupted');
    const started = performance.now();
    const { error } = await fetchFrom((_, response) => response.writeHead(503, { 'retry-after': '100' }).end(), {
      signal: stop.signal,
      onMessage: () => stop.abort(reason),
    });
    expect(error).toBe(reason);
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});

describe('the disk', () => {
  it('that is too small is noticed before the first byte', async () => {
    const { error } = await fetchFrom((_, response) => {
      response.writeHead(200, { 'content-length': 10 ** 15 });
      response.write('x');
    });
    expect(error).toMatchObject({
      code: 'E_FILE_NO_SPACE',
      message: expect.stringMatching(/1,000 TB more, .* are free\nhelp: .*ONESTEP_CACHE/),
    });
    expect(left()).toEqual([]);
  });

  it('that a file stands in the way on is said so', async () => {
    writeFileSync(dirname(path), '');
    const { error } = await fetchFrom((request, response) => sendFile(request, response, FILE));
    expect(error).toMatchObject({ code: 'E_FILE_NOT_WRITABLE' });
  });
});

describe('a proxy', () => {
  it('is asked for the file, by its environment variable', async () => {
    const proxy = await serve((request, response) => {
      expect(request.url).toBe('http://weights.example/w.bin');
      sendFile(request, response, FILE);
    });
    setEnvironment({ HTTP_PROXY: proxy.origin.replace('http://', 'http://me:word@') });
    await downloadFile('http://weights.example/w.bin', path, HASTY);
    expect(readFileSync(path).equals(FILE)).toBe(true);
    expect(proxy.requests[0]!.headers['proxy-authorization']).toBe(`Basic ${Buffer.from('me:word').toString('base64')}`);
  });

  it('is passed by for the hosts of NO_PROXY', async () => {
    const proxy = await serve((_, response) => response.writeHead(500).end());
    setEnvironment({ HTTP_PROXY: proxy.origin.slice('http://'.length), NO_PROXY: 'weights.example,127.0.0.1' });
    const { error } = await fetchFrom((request, response) => sendFile(request, response, FILE));
    expect([error, proxy.requests.length]).toEqual([undefined, 0]);
  });

  it('makes a tunnel for HTTPS; one that refuses is said so', async () => {
    const proxy = await serve(() => {});
    const asked: string[] = [];
    proxy.server.on('connect', (request, socket) => {
      asked.push(request.url!);
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    });
    setEnvironment({ HTTPS_PROXY: proxy.origin });
    await expect(downloadFile('https://weights.example/w.bin', path, HASTY)).rejects.toMatchObject({
      code: 'E_DOWNLOAD_PROXY',
      message: expect.stringContaining('407'),
    });
    expect(asked).toEqual(['weights.example:443']);
  });

  it.each(['http://[', 'gopher://proxy'])('that is none (%s) is said so', async (value) => {
    setEnvironment({ HTTP_PROXY: value });
    await expect(downloadFile('http://weights.example/w.bin', path, HASTY)).rejects.toMatchObject({ code: 'E_DOWNLOAD_PROXY' });
  });
});

it('options that are wrong are all reported', async () => {
  await expect(downloadFile('http://x/y', path, { sha256: 'abc', retries: -1, speed: 3 } as DownloadOptions)).rejects.toMatchObject({
    code: 'E_CONFIG',
    problems: [expect.stringContaining('sha256'), expect.stringContaining('retries'), expect.stringContaining('speed')],
  });
});

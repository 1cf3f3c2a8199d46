/** A server on loopback that misbehaves as a test tells it to, and a folder that is gone afterwards. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';

export type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;

const cleanups: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'onestep-download-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Sets variables of the environment for one test; undefined removes one. */
export function setEnvironment(values: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(values)) {
    const before = process.env[name];
    cleanups.push(() => {
      if (before === undefined) delete process.env[name];
      else process.env[name] = before;
    });
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}

/** Nothing of this machine's settings. */
export const cleanEnvironment = (): void =>
  setEnvironment(
    Object.fromEntries(
      ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'].flatMap((name) => [
        [name, undefined],
        [name.toLowerCase(), undefined],
      ]),
    ),
  );

export interface TestServer {
  origin: string;
  server: Server;
  /** Every request: method, address and headers. */
  requests: { method: string; url: string; headers: IncomingMessage['headers'] }[];
}

/** Starts a server; `count` of the handler is the number of the request, from 0. */
export async function serve(handler: Handler): Promise<TestServer> {
  const requests: TestServer['requests'] = [];
  const listener: RequestListener = (request, response) => {
    requests.push({ method: request.method!, url: request.url!, headers: request.headers });
    handler(request, response, requests.length - 1);
  };
  const server = createServer(listener);
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server, requests };
}

/** Bytes that repeat nowhere near, so that a piece in the wrong place shows. */
export function content(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  bytes[0] = 0x80;
  return bytes;
}

export interface FileServing {
  etag?: string;
  /** Destroys the connection after so many bytes of the answer. */
  cutAfter?: number | undefined;
  headers?: Record<string, string>;
}

/** Answers as a good server does: Range, If-Range, ETag. */
export function sendFile(request: IncomingMessage, response: ServerResponse, file: Buffer, serving: FileServing = {}): void {
  const { etag = '"one"', cutAfter, headers = {} } = serving;
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const condition = request.headers['if-range'];
  const partial = range !== null && (condition === undefined || condition === etag);
  const start = partial ? Number(range[1]) : 0;
  const end = partial && range[2] !== '' ? Math.min(file.length, Number(range[2]) + 1) : file.length;
  if (partial && start >= file.length) {
    response.writeHead(416, { 'content-range': `bytes */${file.length}` }).end();
    return;
  }
  response.writeHead(partial ? 206 : 200, {
    etag,
    'accept-ranges': 'bytes',
    'content-length': end - start,
    ...(partial && { 'content-range': `bytes ${start}-${end - 1}/${file.length}` }),
    ...headers,
  });
  if (cutAfter === undefined || start + cutAfter >= end) response.end(file.subarray(start, end));
  else response.write(file.subarray(start, start + cutAfter), () => setTimeout(() => response.destroy(), 5));
}

/** Quick where production is patient. */
export const HASTY = { backoffMilliseconds: 1, retries: 3, idleMilliseconds: 5_000 };

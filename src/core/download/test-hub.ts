/** An imitation of Hugging Face's hub for tests, on loopback. */
import { createHash } from 'node:crypto';
import { sendFile, serve, setEnvironment } from './test-support.js';

/** What the branch main of every repository stands at. */
export const COMMIT = 'c'.repeat(40);
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

export interface HubOptions {
  /** How large files are kept: at another server, or as Xet tells clients that ask. */
  storage?: 'lfs' | 'xet' | 'inline';
  /** Files that only this token may read. */
  token?: string;
  corrupt?: boolean;
  failFirst?: number;
  /** As some mirrors: no answer has a Content-Range. */
  withoutRanges?: boolean;
  /** Answers a page of HTML to everything, with this status. */
  page?: number;
}

/** The repository `team/net` with `files`: the hub's tree and resolve addresses, and the store that it redirects to. HF_ENDPOINT points there. */
export async function hub(files: Record<string, Buffer>, options: HubOptions = {}) {
  const { storage = 'lfs', token, corrupt = false, failFirst = 0, page, withoutRanges = false } = options;
  const store = await serve((request, response) => {
    if (withoutRanges) delete request.headers.range;
    const bytes = Buffer.from(files[decodeURIComponent(request.url!.slice(1))]!);
    if (corrupt) bytes[100]! ^= 1;
    sendFile(request, response, bytes, { etag: '"of-the-store"' });
  });
  const server = await serve((request, response, count) => {
    if (withoutRanges) delete request.headers.range;
    const url = new URL(request.url!, 'http://hub');
    const deny = (status: number, code: string, message: string) =>
      response
        .writeHead(status, { 'x-error-code': code, 'x-error-message': message, 'content-type': 'application/json' })
        .end(JSON.stringify({ error: message }));
    if (page !== undefined) return void response.writeHead(page, { 'content-type': 'text/html' }).end('<html>log in</html>');
    if (count < failFirst) return void response.writeHead(503).end();
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`)
      return void deny(request.headers.authorization === undefined ? 401 : 403, 'GatedRepo', 'Access to this model is restricted');
    if (!/^\/(api\/models\/)?team\/net\//.test(url.pathname)) return void deny(404, 'RepoNotFound', 'Repository not found');
    const entries = Object.entries(files);
    if (url.pathname.startsWith('/api/models/team/net/tree/')) {
      // Two pages.
      const half = Math.ceil(entries.length / 2);
      const second = url.searchParams.get('cursor') === 'two';
      const link = `<http://${request.headers.host}${url.pathname}?recursive=true&cursor=two>; rel="next"`;
      const list = (second ? entries.slice(half) : entries.slice(0, half)).map(([path, bytes]) => ({
        type: 'file',
        path,
        size: bytes.length,
        oid: 'f'.repeat(40),
        ...(bytes.length > 1000 && { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 120 } }),
      }));
      response.writeHead(200, { 'content-type': 'application/json', ...(!second && { link }) }).end(JSON.stringify(list));
      return;
    }
    const [, revision, path] = /^\/team\/net\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname)!.map(decodeURIComponent);
    if (!['main', 'v1/x', COMMIT].includes(revision!)) return void deny(404, 'RevisionNotFound', 'Invalid rev id');
    const bytes = files[path!];
    if (bytes === undefined) return void deny(404, 'EntryNotFound', 'Entry not found');
    const common = { 'x-repo-commit': COMMIT };
    if (bytes.length <= 1000 || storage === 'inline')
      return void sendFile(request, response, bytes, {
        etag: `"${bytes.length > 1000 ? sha256(bytes) : 'a'.repeat(40)}"`,
        headers: common,
      });
    const linked = { ...common, 'x-linked-etag': `"${sha256(bytes)}"`, 'x-linked-size': String(bytes.length) };
    if (storage === 'xet' && request.headers.accept?.includes('xet-fileinfo')) {
      const link = `<${store.origin}/auth>; rel="xet-auth", <${store.origin}/reconstruct>; rel="xet-reconstruction-info"`;
      response
        .writeHead(200, { ...linked, 'content-type': 'application/vnd.xet-fileinfo+json', 'x-xet-hash': 'e'.repeat(64), link })
        .end('{}');
    } else response.writeHead(302, { ...linked, location: `${store.origin}/${encodeURIComponent(path!)}` }).end();
  });
  setEnvironment({ HF_ENDPOINT: `${server.origin}/` });
  return { server, store };
}

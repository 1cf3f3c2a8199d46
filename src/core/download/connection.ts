/**
 * One way to ask a server: proxies of the environment, time-outs, redirects, and errors that say what to do.
 */
import { EnvHttpProxyAgent, fetch as undiciFetch, Pool, request, type Dispatcher } from 'undici';
import { DownloadError } from '../errors.js';
import { proxySettings } from './environment.js';
import { retryAfter, Transient } from './retry.js';

/** A header's name in lower case, with its value. */
export type Headers = Readonly<Record<string, string>>;

/** What a server answered in the end, after redirects. The body must be read or destroyed. */
export interface Answer {
  status: number;
  headers: Headers;
  body: Dispatcher.ResponseData['body'];
}

export interface ConnectionOptions {
  /** Longest time without a byte, and for a connection to be made. */
  idleMilliseconds: number;
  signal?: AbortSignal | undefined;
}

const MOST_REDIRECTS = 10;

/** A server that asks to wait longer is not waited for. */
const LONGEST_RETRY_AFTER = 120_000;

/** Trouble with certificates does not pass by itself. */
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS_|EPROTO|ERR_SSL/;

/** An address without credentials and query, which may hold a signature. */
export function shownAddress(address: string | URL): string {
  const { origin, pathname, search } = new URL(address);
  return `${origin}${pathname}${search === '' ? '' : '?…'}`;
}

/** Connections for one download; `close` when done. */
export class Connection {
  readonly #dispatcher: EnvHttpProxyAgent;
  readonly #options: ConnectionOptions;

  constructor(options: ConnectionOptions) {
    const { idleMilliseconds } = options;
    this.#options = options;
    const settings = proxySettings();
    const silence = { headersTimeout: idleMilliseconds, bodyTimeout: idleMilliseconds };
    try {
      this.#dispatcher = new EnvHttpProxyAgent({
        ...settings,
        proxyTunnel: false, // plain HTTP is asked of the proxy itself; HTTPS goes through a tunnel all the same
        connect: { timeout: idleMilliseconds },
        ...silence,
        clientFactory: (origin, pool) => new Pool(origin, { ...pool, ...silence }),
      });
    } catch (error) {
      throw new DownloadError('E_DOWNLOAD_PROXY', `the proxy settings are not understood: ${(error as Error).message}`, {
        help: 'HTTP_PROXY and HTTPS_PROXY hold an address such as http://proxy.example:3128',
        cause: error,
      });
    }
  }

  /** `fetch` over these connections, for libraries that take one. */
  readonly fetch = ((input: string | URL, init: RequestInit = {}) =>
    undiciFetch(input, {
      ...(init as object),
      dispatcher: this.#dispatcher,
      signal: AbortSignal.any([init.signal, this.#options.signal].filter((signal) => signal != null)),
    })) as unknown as typeof fetch;

  /**
   * Sends a GET and follows redirects. Headers named in `secret` go to the first origin alone.
   *
   * Throws {@link Transient} where trying again may help, `DownloadError` where it does not; a status is no error here.
   */
  async get(address: string, headers: Headers, secret: Headers = {}): Promise<Answer> {
    const origin = new URL(address).origin;
    let at = new URL(address);
    for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
      const answer = await this.#getOnce(at, at.origin === origin ? { ...headers, ...secret } : headers);
      const location = answer.headers['location'];
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined) return answer;
      answer.body.on('error', () => {}).destroy();
      at = redirected(at, location);
    }
    throw new DownloadError('E_DOWNLOAD_REDIRECT', `${shownAddress(address)}: more than ${MOST_REDIRECTS} redirects`, {
      help: 'the server sends the request round in circles; open the address in a browser, or download the file by hand',
    });
  }

  async #getOnce(at: URL, headers: Headers): Promise<Answer> {
    const { signal } = this.#options;
    const bare = new URL(at);
    bare.username = bare.password = '';
    const login = at.username === '' ? {} : { authorization: `Basic ${basic(at)}` };
    try {
      const answer = await request(bare, {
        headers: { 'user-agent': 'onestep', accept: '*/*', 'accept-encoding': 'identity', ...login, ...headers },
        dispatcher: this.#dispatcher,
        ...(signal !== undefined && { signal }),
      });
      const flat = Object.entries(answer.headers).flatMap(([name, value]) =>
        value === undefined ? [] : [[name.toLowerCase(), Array.isArray(value) ? value.join(', ') : value] as const],
      );
      return { status: answer.statusCode, headers: Object.fromEntries(flat), body: answer.body };
    } catch (error) {
      throw connectionFailure(error, at);
    }
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }
}

const basic = ({ username, password }: URL): string =>
  Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');

/** Where a redirect leads; throws `E_DOWNLOAD_REDIRECT` for one that is not followed. */
export function redirected(from: URL, location: string): URL {
  const refuse = (what: string): never => {
    throw new DownloadError('E_DOWNLOAD_REDIRECT', `${shownAddress(from)}: redirected to ${what}`, {
      help: 'open the address in a browser, or download the file by hand and give its path',
    });
  };
  const to = URL.canParse(location, from.href) ? new URL(location, from) : refuse(`'${location.slice(0, 80)}', which is no address`);
  if (to.protocol !== 'http:' && to.protocol !== 'https:') refuse(`${to.protocol}, which is not followed`);
  if (from.protocol === 'https:' && to.protocol === 'http:') refuse(`${shownAddress(to)}, which is not encrypted`);
  return to;
}

/** What went wrong before or while bytes came: {@link Transient}, or a `DownloadError` where trying again is of no use. */
export function connectionFailure(error: unknown, address: string | URL, progressed = false, came = ''): Error {
  if (error instanceof Transient || error instanceof DownloadError) return error;
  const root = innermost(error);
  const code = (root as NodeJS.ErrnoException).code ?? '';
  const where = shownAddress(address) + came;
  const failure = (what: string, help: string) => new DownloadError('E_DOWNLOAD_UNREACHABLE', `${where}: ${what}`, { help, cause: error });
  const goesOn = 'check the network and the proxy settings (HTTPS_PROXY, NO_PROXY), then try again: it goes on where it stopped';

  const proxy = /Proxy response \((\d+)\)|Proxy Authentication Required \((\d+)\)/.exec(root.message);
  if (proxy !== null) {
    const status = Number(proxy[1] ?? proxy[2]);
    const refused = new DownloadError('E_DOWNLOAD_PROXY', `${where}: the proxy answered ${status}`, {
      help: 'check HTTPS_PROXY and HTTP_PROXY (http://user:password@host:port), or name the host in NO_PROXY',
      cause: error,
    });
    return status < 500 ? refused : new Transient(refused);
  }
  if (code === 'ENOTFOUND') return failure(`no host of that name is known (${code})`, 'check the address, the network and HTTPS_PROXY');
  if (CERTIFICATE.test(code))
    return failure(
      `the certificate is refused (${code})`,
      'where a proxy re-signs connections, name its certificate in NODE_EXTRA_CA_CERTS',
    );
  if (code.endsWith('_TIMEOUT')) return new Transient(failure(`nothing came for too long (${code})`, goesOn), undefined, progressed);
  return new Transient(failure(`the connection failed: ${root.message}${code === '' ? '' : ` (${code})`}`, goesOn), undefined, progressed);
}

function innermost(error: unknown): Error {
  let at = error as Error & { errors?: Error[] };
  for (let depth = 0; depth < 5; depth++) {
    const next = at.errors?.[0] ?? at.cause;
    if (!(next instanceof Error)) break;
    at = next;
  }
  return at;
}

/** The error of a status that is no success: {@link Transient} for a server that is busy or broken, final for others. */
export function statusFailure(status: number, headers: Headers, address: string, help?: string): Error {
  const where = shownAddress(address);
  const failure = (code: string, what: string, advice: string) =>
    new DownloadError(code, `${where}: the server answered ${status}: ${what}`, { help: help ?? advice });
  const byHand = 'download the file by hand and give its path';
  if (status === 404 || status === 410) return failure('E_DOWNLOAD_ABSENT', 'there is no such file', `check the address, or ${byHand}`);
  if (status === 401 || status === 403)
    return failure('E_DOWNLOAD_FORBIDDEN', 'this file is not given to you', `look whether the address needs a login, or ${byHand}`);
  if (status === 407)
    return failure('E_DOWNLOAD_PROXY', 'the proxy wants a login', 'write it into HTTPS_PROXY: http://user:password@host:port');
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const wait = retryAfter(headers['retry-after']);
    const busy = failure(
      'E_DOWNLOAD_BUSY',
      status === 429 ? 'too many requests' : 'it is busy or out of order',
      'try again later: it goes on where it stopped',
    );
    if (wait === undefined || wait <= LONGEST_RETRY_AFTER) return new Transient(busy, wait);
    return failure('E_DOWNLOAD_BUSY', `it asks to wait ${Math.ceil(wait / 60_000)} minutes`, 'try again then: it goes on where it stopped');
  }
  return failure('E_DOWNLOAD_REFUSED', 'it does not give the file', byHand);
}

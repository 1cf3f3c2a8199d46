/**
 * What the environment says about the network: offline or not, proxies, the hub and its token.
 */

import { DownloadError } from '../errors.js';
import { printable } from '../pickle/text.js';

type Environment = NodeJS.ProcessEnv;

const YES = new Set(['1', 'true', 'yes', 'on']);

/** The variable that forbids connections, `ONESTEP_OFFLINE` or `HF_HUB_OFFLINE` (1, true, yes, on); undefined where none does. */
export const offlineVariable = (environment: Environment = process.env): string | undefined =>
  ['ONESTEP_OFFLINE', 'HF_HUB_OFFLINE'].find((name) => YES.has((environment[name] ?? '').trim().toLowerCase()));

/** Proxies by protocol, as undici wants them: `host:port` without a protocol is an HTTP proxy, as it is for curl. */
export function proxySettings(environment: Environment = process.env): { httpProxy?: string; httpsProxy?: string; noProxy?: string } {
  const read = (name: string): string | undefined => {
    const value = (environment[name.toLowerCase()] || environment[name])?.trim();
    return value ? value : undefined;
  };
  const address = (name: string): string | undefined => {
    const value = read(name);
    return value === undefined || value.includes('://') ? value : `http://${value}`;
  };
  const [httpProxy, httpsProxy, noProxy] = [address('HTTP_PROXY'), address('HTTPS_PROXY'), read('NO_PROXY')];
  return {
    ...(httpProxy !== undefined && { httpProxy }),
    ...(httpsProxy !== undefined && { httpsProxy }),
    ...(noProxy !== undefined && { noProxy }),
  };
}

/** HF_ENDPOINT, else the public hub; without a slash at the end. Throws {@link DownloadError} `E_DOWNLOAD_SETTINGS` for what is no address. */
export function hubAddress(environment: Environment = process.env): string {
  const address = environment['HF_ENDPOINT']?.trim() || 'https://huggingface.co';
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:')
    throw new DownloadError('E_DOWNLOAD_SETTINGS', `HF_ENDPOINT: expected an address, found '${printable(address)}'`, {
      help: 'write https://… of the mirror, or unset HF_ENDPOINT for the public hub',
    });
  return address.replace(/\/+$/, '');
}

/** HF_TOKEN; undefined where it is not set. Throws {@link DownloadError} `E_DOWNLOAD_SETTINGS` for what no header can hold, without showing it. */
export function hubToken(environment: Environment = process.env): string | undefined {
  const token = environment['HF_TOKEN']?.trim() || undefined;
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token))
    throw new DownloadError(
      'E_DOWNLOAD_SETTINGS',
      `HF_TOKEN: expected a token, found ${token.length} characters with spaces or others that no token has`,
      {
        help: 'copy the token again (hf_…), or unset HF_TOKEN',
      },
    );
  return token;
}

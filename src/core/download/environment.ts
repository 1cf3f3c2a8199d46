/**
 * What the environment says about the network: offline or not, proxies, the hub and its token.
 */

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

/** HF_ENDPOINT, else the public hub; without a slash at the end. */
export const hubAddress = (environment: Environment = process.env): string =>
  (environment['HF_ENDPOINT']?.trim() || 'https://huggingface.co').replace(/\/+$/, '');

/** HF_TOKEN; undefined where it is not set. */
export const hubToken = (environment: Environment = process.env): string | undefined => environment['HF_TOKEN']?.trim() || undefined;

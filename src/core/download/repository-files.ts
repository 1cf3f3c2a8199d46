/**
 * Which files of a repository are meant where a reference names none.
 */

/** A file of a repository. */
export interface RepositoryFile {
  path: string;
  size: number;
  /** SHA-256 of the file, where the hub knows one. */
  sha256?: string | undefined;
}

/** What to fetch: one file, or the files of a folder that belong together. */
export interface Choice {
  /** The file, or the folder; '' is the root. */
  path: string;
  kind: 'file' | 'folder';
  files: readonly RepositoryFile[];
}

const SHARD = /-\d{5}-of-\d{5}\.safetensors$/;
const SINGLE = /\.(safetensors|pth|pkl)$/i;

/**
 * A folder of diffusers (config.json beside weights, at the root or in `unet`) with its scheduler's configuration, else the only
 * .safetensors, .pth or .pkl there is; undefined where neither is found. `under` limits the search to a folder.
 */
export function chooseFiles(all: readonly RepositoryFile[], under = ''): Choice | undefined {
  const prefix = under === '' ? '' : `${under}/`;
  const files = all.filter(({ path }) => path.startsWith(prefix));
  for (const folder of [under, `${prefix}unet`]) {
    const within = files.filter(({ path }) => directory(path) === folder);
    const config = within.find(({ path }) => name(path) === 'config.json');
    const weights = config === undefined ? undefined : weightsOfFolder(within);
    if (weights !== undefined) return { path: folder, kind: 'folder', files: [config!, ...weights, ...schedulerOf(all, folder)] };
  }
  const single = files.filter(({ path }) => SINGLE.test(path));
  return single.length === 1 ? { path: single[0]!.path, kind: 'file', files: single } : undefined;
}

/** The scheduler's configuration that belongs to a network: in the folder, beside it, or in `scheduler` there. */
function schedulerOf(all: readonly RepositoryFile[], folder: string): readonly RepositoryFile[] {
  const places = [...new Set([folder, directory(folder)])].flatMap((place) =>
    ['scheduler/scheduler_config.json', 'scheduler_config.json'].map((path) => (place === '' ? path : `${place}/${path}`)),
  );
  const found = places.map((place) => all.find(({ path }) => path === place)).find((file) => file !== undefined);
  return found === undefined ? [] : [found];
}

/** The plain file before its variants (fp16, non_ema), then the shards of an index, then the only file; PyTorch's where there is nothing else. */
function weightsOfFolder(within: readonly RepositoryFile[]): readonly RepositoryFile[] | undefined {
  const safetensors = within.filter(({ path }) => path.endsWith('.safetensors'));
  for (const stem of ['diffusion_pytorch_model', 'model']) {
    const plain = safetensors.find(({ path }) => name(path) === `${stem}.safetensors`);
    if (plain !== undefined) return [plain];
    const index = within.find(({ path }) => name(path) === `${stem}.safetensors.index.json`);
    const shards = safetensors.filter(({ path }) => name(path).startsWith(`${stem}-`) && SHARD.test(path));
    if (index !== undefined && shards.length > 0) return [index, ...shards];
  }
  if (safetensors.length > 0) return safetensors.length === 1 ? safetensors : undefined;
  const pytorch = within.find(({ path }) => name(path) === 'diffusion_pytorch_model.bin');
  return pytorch === undefined ? undefined : [pytorch];
}

const directory = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));
const name = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

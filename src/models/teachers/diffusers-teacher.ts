/**
 * Teachers in diffusers folders: `UNet2DModel` of the DDPM family, as `DDPMPipeline.save_pretrained` and the hub have them.
 */
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FileError } from '../../core/errors.js';
import { readTextFile } from '../../core/files.js';
import { printable } from '../../core/pickle/index.js';
import { openSafetensors } from '../../core/safetensors-index.js';
import type { TensorFile } from '../../core/tensor-file.js';
import { openTorchFile } from '../../core/torch-file/index.js';
import { renamed } from '../nn/weights.js';
import { diffusersConfig, type DiffusersTeacherOptions } from './diffusers-config.js';
import { expectContainer } from './probe.js';
import { fileTeacher, type FileTeacherLoader } from './teacher-file.js';
import { torchTensors } from './torch-tensors.js';

/** Names of the attention's layers in files before diffusers 0.17. */
const FORMER_NAMES = [
  ['.query.', '.to_q.'],
  ['.key.', '.to_k.'],
  ['.value.', '.to_v.'],
  ['.proj_attn.', '.to_out.0.'],
] as const;

const WEIGHTS = 'diffusion_pytorch_model';

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

async function firstOf(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await exists(path)) return path;
  return undefined;
}

/** The configuration of a network, or of its scheduler: a page of JSON. */
const MAX_CONFIG_BYTES = 1_000_000;

async function readFields(path: string): Promise<Record<string, unknown>> {
  const text = await readTextFile(path, MAX_CONFIG_BYTES);
  const damaged = (problem: string, cause?: unknown) =>
    new FileError('E_FILE_FORMAT', `${path}: expected an object of JSON, ${problem}`, { cause, help: 'download the folder again' });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged(printable((cause as Error).message), cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw damaged(`found ${printable(JSON.stringify(value)).slice(0, 40)}`);
  return value as Record<string, unknown>;
}

/** The tensors under the names that diffusers gives them today. */
function withCurrentNames(file: TensorFile): { weights: TensorFile; former: number } {
  let former = 0;
  const names = new Map<string, string>();
  for (const name of file.tensors.keys()) {
    const now = name.includes('.attentions.') ? FORMER_NAMES.reduce((text, [then, today]) => text.replace(then, today), name) : name;
    if (now !== name) former++;
    names.set(now, name);
  }
  return { weights: former > 0 ? renamed(file, names) : file, former };
}

/**
 * Loads a teacher from a diffusers folder: `unet/config.json` or `config.json`, beside it `diffusion_pytorch_model.safetensors` (or its index and
 * shards, or `.bin`), and `scheduler/scheduler_config.json` or `scheduler_config.json`. The folder may be the pipeline's or the network's own.
 *
 * The network is `DdpmUNet`: EDM's F is computed from the published network exactly, see there. Throws `E_CONFIG` that names every field of
 * the two files that is not supported, `FileError` for missing and damaged files and `E_WEIGHTS_MISMATCH` for weights of another network.
 */
export function diffusersTeacher(folder: string, options: DiffusersTeacherOptions = {}): FileTeacherLoader {
  return fileTeacher('diffusersTeacher', folder, { name: folder, options: { folder, ...options } }, async (found) => {
    expectContainer(found, ['folder'], 'a diffusers folder');
    const configPath = await firstOf([join(folder, 'unet', 'config.json'), join(folder, 'config.json')]);
    if (configPath === undefined)
      throw new FileError(
        'E_FILE_ABSENT',
        `${folder}: expected unet/config.json or config.json, found ${found.names.slice(0, 8).map(printable).join(', ') || 'nothing'}`,
        {
          help: 'give the folder of a diffusers pipeline or of its network',
        },
      );
    const at = dirname(configPath);
    const scheduler = await firstOf(
      [at, dirname(at)]
        .filter((_, up) => up === 0 || basename(at) === 'unet')
        .flatMap((root) => [join(root, 'scheduler', 'scheduler_config.json'), join(root, 'scheduler_config.json')]),
    );
    const config = diffusersConfig(
      configPath,
      await readFields(configPath),
      scheduler === undefined ? undefined : await readFields(scheduler),
      options,
    );
    const path = await firstOf(['safetensors', 'safetensors.index.json', 'bin'].map((ending) => join(at, `${WEIGHTS}.${ending}`)));
    if (path === undefined)
      throw new FileError('E_FILE_ABSENT', `${at}: expected ${WEIGHTS}.safetensors, its index or ${WEIGHTS}.bin, found none`, {
        help: 'download the whole folder',
      });
    const file = path.endsWith('.bin') ? torchTensors((await openTorchFile(path)).root, path) : await openSafetensors(path);
    const { weights, former } = withCurrentNames(file);
    const { beta_schedule, num_train_timesteps, prediction_type } = config.scheduler;
    return {
      path,
      format: 'diffusers folder, UNet2DModel',
      config,
      weights,
      notes: [
        `${num_train_timesteps} steps, betas ${beta_schedule}, prediction ${prediction_type}${options.scheduler || !scheduler ? ' (given)' : ''}`,
        ...(former > 0 ? [`${former} tensors of attentions have their former names; they are read under those of today`] : []),
      ],
    };
  });
}

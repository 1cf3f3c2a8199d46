/**
 * Teachers in EDM's snapshots: pickles of whole modules, `{ema, …}`.
 */
import { FileError, WeightsError } from '../../core/errors.js';
import { describeValue, printable } from '../../core/pickle/index.js';
import { moduleState, openTorchFile, PersistentObject, type TorchFile } from '../../core/torch-file/index.js';
import type { BackboneConfig } from '../backbones/backbone.js';
import { weightsOf } from '../nn/weights.js';
import { configOfArguments, constructorArguments, EDM_NETWORKS, expectSameArchitecture } from './edm-config.js';
import { inferBackboneConfig } from './infer.js';
import { expectContainer } from './probe.js';
import { findNetwork } from './published-names.js';
import { fileTeacher, type FileTeacherLoader, type TeacherFile } from './teacher-file.js';
import { torchTensors } from './torch-tensors.js';

/** Options of `edmSnapshot`. */
export interface EdmSnapshotOptions {
  /** Which network of the snapshot; undefined: `ema`, the averaged one. */
  key?: string;
}

/** The only preconditioning that is computed exactly, and its sigma_data. */
const PRECONDITIONING = 'EDMPrecond';
const SIGMA_DATA = 0.5;

const SUPPORTED = `supported is ${PRECONDITIONING} with sigma_data ${SIGMA_DATA}, of ${EDM_NETWORKS.join(' or ')}`;

/** The modules that a file's object is or holds, by key; one that the object itself is has the key ''. */
export function snapshotModules(root: unknown): Map<string, PersistentObject> {
  const isModule = (value: unknown): value is PersistentObject => value instanceof PersistentObject && moduleState(value) !== undefined;
  if (isModule(root)) return new Map([['', root]]);
  const modules = new Map<string, PersistentObject>();
  if (root instanceof Map) for (const [key, value] of root) if (typeof key === 'string' && isModule(value)) modules.set(key, value);
  return modules;
}

const unsupported = (path: string, expected: string, found: string, help = SUPPORTED) =>
  new WeightsError('E_WEIGHTS_UNSUPPORTED', `${path}: expected ${expected}, found ${found}`, { help });

function chooseModule({ root, path }: TorchFile, key: string | undefined): [string, PersistentObject] {
  const modules = snapshotModules(root);
  const whole = modules.get('');
  if (whole && key === undefined) return ['', whole];
  const chosen = modules.get(key ?? 'ema');
  if (chosen) return [key ?? 'ema', chosen];
  const there = [...modules].map(([name, module]) => `${printable(name) || 'the file itself'} (${printable(module.className)})`);
  const entries =
    root instanceof Map
      ? [...root].slice(0, 6).map(([name, value]) => `${printable(String(name))} (${describeValue(value)})`)
      : [describeValue(root)];
  throw new WeightsError(
    there.length > 0 ? 'E_WEIGHTS_KEY' : 'E_WEIGHTS_UNKNOWN',
    `${path}: expected a network under the key ${key ?? 'ema'}, found ${(there.length > 0 ? there : entries).join(', ') || 'nothing'}`,
    {
      help:
        there.length > 0
          ? `give one of these as key, such as { key: '${printable([...modules.keys()][0]!)}' }, on the command line --key; a training state has its network as net`
          : 'this is no EDM snapshot; stateDictTeacher(path) reads state dicts, teacher(path) finds out which it is',
    },
  );
}

/** The network inside the preconditioning; refuses every other preconditioning by name. */
function innerNetwork(outer: PersistentObject, path: string): PersistentObject {
  if (outer.className !== PRECONDITIONING) {
    const why = /^(VP|VE|iDDPM)Precond$/.test(outer.className)
      ? `; ${outer.className} weighs noise levels by another rule, and its network was trained for that`
      : '';
    throw unsupported(path, PRECONDITIONING, `the class ${printable(outer.className)}`, `${SUPPORTED}${why}`);
  }
  const sigmaData = outer.state.get('sigma_data') ?? SIGMA_DATA;
  if (sigmaData !== SIGMA_DATA)
    throw unsupported(path, `${PRECONDITIONING} with sigma_data ${SIGMA_DATA}`, `sigma_data ${describeValue(sigmaData)}`);
  const inner = moduleState(outer)!.get('_modules');
  const network = inner instanceof Map ? (inner as Map<unknown, unknown>).get('model') : undefined;
  if (!(network instanceof PersistentObject))
    throw unsupported(path, `a network named model in ${PRECONDITIONING}`, describeValue(network));
  if (!EDM_NETWORKS.includes(network.className))
    throw unsupported(path, EDM_NETWORKS.join(' or '), `the class ${printable(network.className)}`);
  return network;
}

/** What the outer module says again must agree with the network. */
function expectAgreement(outer: PersistentObject, config: BackboneConfig, path: string): void {
  for (const name of ['img_resolution', 'img_channels', 'label_dim'] as const) {
    const said = outer.state.get(name);
    if (said !== undefined && said !== config[name])
      throw new WeightsError(
        'E_WEIGHTS_CONTRADICTION',
        `${path}: ${outer.className} says ${name} ${describeValue(said)}, its network ${config[name]}`,
        {
          help: 'the file was changed after it was written; take the published one',
        },
      );
  }
}

/** Reads a snapshot that is open already. */
export async function readEdmSnapshot(file: TorchFile, options: EdmSnapshotOptions): Promise<TeacherFile> {
  const { path, root } = file;
  const [key, outer] = chooseModule(file, options.key);
  const network = innerNetwork(outer, path);
  const tensors = torchTensors(outer, path);
  const args = await constructorArguments(network, path);
  const inferred = await inferBackboneConfig(weightsOf(tensors, path));
  if (inferred.model_type !== network.className)
    throw new WeightsError(
      'E_WEIGHTS_CONTRADICTION',
      `${path}: the class is ${network.className}, the tensors are of ${inferred.model_type}`,
      {
        help: 'the file was changed after it was written; take the published one',
      },
    );
  const config = args ? configOfArguments(network.className, args, path) : inferred;
  if (args) expectSameArchitecture(config, inferred, path);
  expectAgreement(outer, config, path);

  const found = await findNetwork(tensors, path, { config });
  const others = root instanceof Map ? [...root.keys()].filter((name) => name !== key).map(String) : [];
  const halfPrecision = outer.state.get('use_fp16') === true;
  return {
    path,
    format: `EDM snapshot, ${outer.className} of ${network.className} (${file.container}${key && `, ${key}`})`,
    config,
    weights: found.weights,
    notes: [
      args
        ? 'architecture from the stored constructor arguments, checked against the tensors'
        : 'architecture inferred: the file has no constructor arguments; dropout leaves no trace and is 0',
      ...(halfPrecision ? ['use_fp16: was computed in float16 where it comes from; here in float32'] : []),
      ...(others.length > 0 ? [`left out: ${others.join(', ')}`] : []),
      ...found.notes,
    ],
  };
}

/**
 * Loads a teacher from a snapshot of EDM. The architecture, dropout included, comes from what the pickle says of itself and is checked against the
 * tensors; nothing of the pickle is run.
 *
 * Only `EDMPrecond` with sigma_data 0.5 is computed exactly; other classes are refused by name (`E_WEIGHTS_UNSUPPORTED`). Throws as
 * `openTorchFile`; `E_WEIGHTS_KEY` for a key that is not there (lists what is), `E_WEIGHTS_UNKNOWN` for a file that is no snapshot, `E_WEIGHTS_CONTRADICTION` for tensors of another architecture.
 */
export function edmSnapshot(path: string, options: EdmSnapshotOptions = {}): FileTeacherLoader {
  return fileTeacher('edmSnapshot', path, { name: path, options: { path, ...options } }, async (found) => {
    expectContainer(found, ['pickle', 'zip'], 'an EDM snapshot (a pickle)');
    const file = await openTorchFile(found.path);
    if (file.container === 'legacy' && snapshotModules(file.root).size === 0)
      throw new FileError('E_FILE_FORMAT', `${path}: expected an EDM snapshot, found a state dict in PyTorch's legacy container`, {
        help: 'stateDictTeacher(path) reads it',
      });
    return readEdmSnapshot(file, options);
  });
}

import { FileError, WeightsError } from '../errors.js';
import { describeValue, PickledObject, printable } from '../pickle/index.js';
import { PersistentObject } from './persistent-object.js';
import { TorchTensor } from './torch-tensor.js';

/** More than any network: a file can name one dict many times over. */
const MAX_NODES = 400_000;
const MAX_DEPTH = 100;

/** Of one name, and of all together. */
const MAX_NAME = 4096;
const MAX_NAMES = 2 ** 25;

interface Node {
  name: string;
  value: unknown;
  depth: number;
}

/** The attributes of an object that is a module of PyTorch; undefined: it is none. */
export function moduleState(value: unknown): ReadonlyMap<unknown, unknown> | undefined {
  const state = value instanceof PersistentObject || value instanceof PickledObject ? value.state : undefined;
  return state instanceof Map && state.get('_parameters') instanceof Map && state.get('_modules') instanceof Map ? state : undefined;
}

/** What lies one name below `value`, in the order of PyTorch's `state_dict()`. */
function children(value: unknown): Iterable<readonly [unknown, unknown]> {
  const module = moduleState(value);
  if (module) {
    const transient = module.get('_non_persistent_buffers_set');
    return ['_parameters', '_buffers', '_modules'].flatMap((part) => {
      const entries = module.get(part);
      if (!(entries instanceof Map)) return [];
      return [...entries].filter(([key]) => !(part === '_buffers' && transient instanceof Set && transient.has(key)));
    });
  }
  if (value instanceof Map) return value;
  return Array.isArray(value) ? value.entries() : [];
}

/**
 * All tensors below `root` by their published names: of a module the parameters and buffers as its `state_dict()` names them, of dicts and lists
 * the keys joined by dots. Other values are left out.
 *
 * Throws {@link FileError} `E_FILE_FORMAT` for data that goes in circles, `E_PICKLE_LIMIT` for more than 100 levels or 400,000 values,
 * {@link WeightsError} `E_WEIGHTS_DUPLICATE` for two tensors of one name.
 */
export function stateDict(root: unknown): Map<string, TorchTensor> {
  const found = new Map<string, TorchTensor>();
  const limit = (what: string) =>
    new FileError('E_PICKLE_LIMIT', `expected at most ${what} in a state dict, found more`, {
      help: 'give the part of the file that holds the weights',
    });
  const pending: Node[] = [{ name: '', value: root, depth: 0 }];
  let nodes = 0;
  let characters = 0;
  while (pending.length > 0) {
    const { name, value, depth } = pending.pop()!;
    if (value instanceof TorchTensor) {
      if (found.has(name))
        throw new WeightsError('E_WEIGHTS_DUPLICATE', `tensor ${printable(name)}: expected a name of its own, found it taken`, {
          help: 'the names of two tensors are the same when joined by dots; rename one in Python',
        });
      found.set(name, value);
      continue;
    }
    if (depth > MAX_DEPTH) throw limit(`${MAX_DEPTH} levels`);
    const below: Node[] = [];
    for (const [key, child] of children(value)) {
      if (++nodes > MAX_NODES) throw limit(`${MAX_NODES} values`);
      if (typeof child !== 'object' || child === null) continue;
      if (typeof key !== 'string' && typeof key !== 'number') {
        if (child instanceof TorchTensor)
          throw new FileError('E_FILE_FORMAT', `expected texts as names of tensors, found ${describeValue(key)}`, {
            help: 'rename it in Python',
          });
        continue;
      }
      const path = name === '' ? String(key) : `${name}.${key}`;
      if (path.length > MAX_NAME) throw limit(`${MAX_NAME} characters in a name`);
      if ((characters += path.length) > MAX_NAMES) throw limit(`${MAX_NAMES} characters of names`);
      below.push({ name: path, value: child, depth: depth + 1 });
    }
    // The last in is the first out: names then come in the order of the file.
    for (const node of below.reverse()) pending.push(node);
  }
  return found;
}

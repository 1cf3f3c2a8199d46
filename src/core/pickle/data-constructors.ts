/**
 * The short list: names of Python that make data. A name that is not here (or on the list of the container's format) is refused
 * where the pickle names it, before anything is made of it.
 */
import { numpyConstructors } from './numpy.js';
import {
  describeValue,
  isList,
  PickledBytes,
  PickledDict,
  PickledGlobal,
  PickledObject,
  tuple,
  type ConstructionContext,
  type DataConstructor,
  type PickledTuple,
} from './values.js';
import { BufferSource } from './byte-source.js';

/** Estimated bytes of an item in a container of ours. */
const ITEM_BYTES = 32;

/** The items of a list, tuple, set, or the keys of a dict. Charged for, since the pickle can name one container many times. */
function itemsOf(value: unknown, context: ConstructionContext): unknown[] {
  const size = value instanceof Set || value instanceof Map ? value.size : Array.isArray(value) ? value.length : undefined;
  if (size === undefined) throw context.fail(`expected a container to take items from, found ${describeValue(value)}`);
  context.budget.spend('heldBytes', size * ITEM_BYTES);
  return value instanceof Map ? [...value.keys()] : [...(value as Iterable<unknown>)];
}

/** Puts the items of a dict, or of a list of pairs, into `target`. */
function fill(target: Map<unknown, unknown>, source: unknown, context: ConstructionContext): void {
  if (source instanceof Map) {
    context.budget.spend('heldBytes', source.size * ITEM_BYTES);
    for (const [key, value] of source) target.set(key, value);
    return;
  }
  for (const pair of itemsOf(source, context)) {
    if (!Array.isArray(pair) || pair.length !== 2) throw context.fail(`expected pairs for a dict, found ${describeValue(pair)}`);
    target.set(hashable(pair[0], context), pair[1]);
  }
}

/** Python's own rule for keys of dicts and members of sets. */
export function hashable(key: unknown, context: ConstructionContext): unknown {
  if (isList(key) || key instanceof Map || key instanceof Set)
    throw context.fail(`expected a key that can be hashed, found ${describeValue(key)}`);
  if (typeof key === 'number' || typeof key === 'bigint' || (typeof key === 'string' && /^\d{1,20}$/.test(key)))
    context.budget.spend('numberedKeys', 1);
  return key;
}

function expectArguments(args: PickledTuple, least: number, most: number, what: string, context: ConstructionContext): void {
  if (args.length < least || args.length > most)
    throw context.fail(`expected ${least === most ? least : `${least} to ${most}`} arguments for ${what}, found ${args.length}`);
}

function dictionary(className: string, factory = false): DataConstructor {
  const make = (args: PickledTuple, context: ConstructionContext) => {
    const items = factory ? args.slice(1) : args;
    expectArguments(items as PickledTuple, 0, 1, className, context);
    const made = new PickledDict(className);
    if (items.length === 1) fill(made, items[0], context);
    return made;
  };
  return { call: make, create: make };
}

const setOf: DataConstructor = {
  call(args, context) {
    expectArguments(args, 0, 1, 'a set', context);
    return new Set(args.length === 0 ? [] : itemsOf(args[0], context).map((item) => hashable(item, context)));
  },
};

const plainDict: DataConstructor = {
  call(args, context) {
    expectArguments(args, 0, 1, 'a dict', context);
    const made = new Map<unknown, unknown>();
    if (args.length === 1) fill(made, args[0], context);
    return made;
  },
};

/** Constructors whose object is its name and arguments. */
const inert = (module: string, name: string): DataConstructor => {
  const make = (args: PickledTuple) => new PickledObject(module, name, args);
  return { call: make, create: make };
};

/** Bytes as a text of characters below 256, the way that protocols without bytes have them. */
const encode: DataConstructor = {
  call(args, context) {
    expectArguments(args, 1, 2, '_codecs.encode', context);
    const [text, encoding = 'utf-8'] = args;
    const latin = encoding === 'latin1' || encoding === 'latin-1' || encoding === 'iso-8859-1';
    if (typeof text !== 'string' || !(latin || encoding === 'utf-8' || encoding === 'ascii'))
      throw context.fail(`expected a text and latin1 for _codecs.encode, found ${describeValue(text)} and ${describeValue(encoding)}`);
    context.budget.spend('heldBytes', (latin ? 1 : 3) * text.length + 64);
    const bytes = Buffer.from(text, latin ? 'latin1' : 'utf-8');
    return new PickledBytes(new BufferSource(bytes), 0, bytes.byteLength);
  },
};

const byteArray: DataConstructor = {
  call(args, context) {
    expectArguments(args, 0, 2, 'bytearray', context);
    if (args.length === 2) return encode.call!(args, context);
    if (args.length === 0) return new PickledBytes(new BufferSource(new Uint8Array(0)), 0, 0);
    if (args[0] instanceof PickledBytes) return args[0];
    throw context.fail(`expected bytes for bytearray, found ${describeValue(args[0])}`);
  },
};

const emptyBytes: DataConstructor = {
  call(args, context) {
    expectArguments(args, 0, 0, 'bytes', context);
    return new PickledBytes(new BufferSource(new Uint8Array(0)), 0, 0);
  },
};

/** `copyreg._reconstructor(cls, base, state)`: an object without calling its `__init__`, as protocols 0 and 1 write it. */
const reconstructor: DataConstructor = {
  call(args, context) {
    expectArguments(args, 3, 3, 'copyreg._reconstructor', context);
    const [of, , state] = args;
    if (!(of instanceof PickledGlobal)) throw context.fail(`expected a class for copyreg._reconstructor, found ${describeValue(of)}`);
    if (!of.constructors.create) throw context.refuse(of.module, of.name);
    const made = of.constructors.create(tuple([]), context);
    if (made instanceof PickledDict && state !== null) fill(made, state, context);
    return made;
  },
};

/** `copyreg.__newobj__(cls, *args)`. */
const newObject: DataConstructor = {
  call([of, ...args], context) {
    if (!(of instanceof PickledGlobal)) throw context.fail(`expected a class for copyreg.__newobj__, found ${describeValue(of)}`);
    if (!of.constructors.create) throw context.refuse(of.module, of.name);
    return of.constructors.create(tuple(args), context);
  },
};

const DATA_CONSTRUCTORS = new Map<string, DataConstructor>([
  ['collections.OrderedDict', dictionary('collections.OrderedDict')],
  ['collections.defaultdict', dictionary('collections.defaultdict', true)],
  ['dnnlib.EasyDict', dictionary('dnnlib.EasyDict')],
  ['dnnlib.util.EasyDict', dictionary('dnnlib.util.EasyDict')],
  ['builtins.dict', plainDict],
  ['builtins.set', setOf],
  ['builtins.frozenset', setOf],
  ['builtins.complex', inert('builtins', 'complex')],
  ['builtins.slice', inert('builtins', 'slice')],
  ['builtins.range', inert('builtins', 'range')],
  ['builtins.bytearray', byteArray],
  ['builtins.bytes', emptyBytes],
  // Types that are values, as the factory of a defaultdict or a base of `_reconstructor`.
  ...['object', 'list', 'tuple', 'int', 'float', 'bool', 'str'].map((name): [string, DataConstructor] => [`builtins.${name}`, {}]),
  ['copyreg._reconstructor', reconstructor],
  ['copyreg.__newobj__', newObject],
  ['_codecs.encode', encode],
  ...numpyConstructors,
]);

/** Python 2's names of the same. */
const MODULES_OF_PYTHON_2 = new Map([
  ['__builtin__', 'builtins'],
  ['copy_reg', 'copyreg'],
]);

/** The constructor of a name on the list; undefined: it is not there. */
export const findDataConstructor = (module: string, name: string): DataConstructor | undefined =>
  DATA_CONSTRUCTORS.get(`${MODULES_OF_PYTHON_2.get(module) ?? module}.${name}`);

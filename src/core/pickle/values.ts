/**
 * What a pickle's objects become: data that can be looked at, with no behaviour of the class that was pickled.
 */
import type { FileError } from '../errors.js';
import type { ByteSource } from './byte-source.js';
import type { PickleBudget } from './budget.js';
import { printable } from './text.js';

/** A Python list is an array; a tuple is a frozen array. */
export type PickledTuple = readonly unknown[];

export const tuple = (items: unknown[]): PickledTuple => Object.freeze(items);

export const isTuple = (value: unknown): value is PickledTuple => Array.isArray(value) && Object.isFrozen(value);

export const isList = (value: unknown): value is unknown[] => Array.isArray(value) && !Object.isFrozen(value);

/** What a constructor of data is given beside its arguments. */
export interface ConstructionContext {
  readonly budget: PickleBudget;
  /** An error that names the file and the place in it. */
  fail(problem: string): FileError;
  /** An error for a name that is not on the list of data constructors. */
  refuse(module: string, name: string): FileError;
}

/** How a name on the list makes data; what is absent is refused. */
export interface DataConstructor {
  /** What `callable(*args)` gives. */
  call?(args: PickledTuple, context: ConstructionContext): unknown;
  /** What `cls.__new__(cls, *args)` gives. */
  create?(args: PickledTuple, context: ConstructionContext): unknown;
}

/** A class or function that the pickle names. Only its name is here. */
export class PickledGlobal {
  constructor(
    readonly module: string,
    readonly name: string,
    readonly constructors: DataConstructor,
  ) {}

  get qualifiedName(): string {
    return `${this.module}.${this.name}`;
  }
}

/** An object of a class that is on the list: its constructor's arguments and its state, as data. */
export class PickledObject {
  /** What the pickle restores the object's attributes from; undefined: nothing. */
  state: unknown;

  constructor(
    readonly module: string,
    readonly name: string,
    readonly args: PickledTuple = tuple([]),
  ) {}

  get className(): string {
    return `${this.module}.${this.name}`;
  }

  build(state: unknown, _context: ConstructionContext): void {
    this.state = state;
  }
}

/** A dictionary of a class of its own: `collections.OrderedDict`, `dnnlib.util.EasyDict`. */
export class PickledDict extends Map<unknown, unknown> {
  /** The attributes it has beside its items; undefined: none. */
  state: unknown;

  constructor(readonly className: string) {
    super();
  }

  build(state: unknown): void {
    this.state = state;
  }
}

/** Bytes of the file: located, and read when asked for. */
export class PickledBytes {
  constructor(
    readonly source: ByteSource,
    readonly offset: number,
    readonly length: number,
  ) {}

  read(): Promise<Uint8Array> {
    return this.source.read(this.offset, this.offset + this.length, `${this.length} bytes of its pickle`);
  }
}

/** A few words on a value for messages; looks no deeper than the value itself. */
export function describeValue(value: unknown): string {
  if (value === null) return 'None';
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return value.length <= 40 ? `"${printable(value)}"` : `a text of ${value.length} characters`;
  if (typeof value === 'bigint') return value < 2n ** 64n && value > -(2n ** 64n) ? `${value}` : 'a large integer';
  if (typeof value !== 'object') return String(value);
  if (value instanceof PickledDict) return `a ${value.className} of ${value.size}`;
  if (value instanceof Map) return `a dict of ${value.size}`;
  if (value instanceof Set) return `a set of ${value.size}`;
  if (Array.isArray(value)) return `a ${isTuple(value) ? 'tuple' : 'list'} of ${value.length}`;
  if (value instanceof PickledBytes) return `${value.length} bytes`;
  if (value instanceof PickledGlobal) return value.qualifiedName;
  if ('className' in value) return `a ${printable(String(value.className))}`;
  return `a ${value.constructor?.name ?? 'value'}`;
}

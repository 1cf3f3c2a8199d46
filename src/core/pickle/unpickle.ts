/**
 * Python's pickle format, protocols 0 to 5, read as data: a machine with a stack, marks and a memo, as the opcode descriptions of
 * Python's `pickletools` define it. It has no way to run anything: a class or function that is not on the list of
 * data constructors is refused by the very instruction that names it.
 */
import { FileError } from '../errors.js';
import { PickleBudget } from './budget.js';
import { ByteCursor } from './byte-cursor.js';
import { BufferSource, type ByteSource } from './byte-source.js';
import { findDataConstructor, hashable } from './data-constructors.js';
import { OPCODE } from './opcodes.js';
import * as text from './text.js';
import {
  describeValue,
  isList,
  isTuple,
  PickledBytes,
  PickledDict,
  PickledGlobal,
  PickledObject,
  tuple,
  type ConstructionContext,
  type DataConstructor,
} from './values.js';

export interface UnpickleOptions {
  /** Where the pickle begins; 0. */
  at?: number;
  /** Constructors of data beyond Python's and NumPy's own. */
  constructors?: (module: string, name: string) => DataConstructor | undefined;
  /** What an object that the pickle keeps elsewhere is; undefined: such a pickle is refused. */
  persistentLoad?: (id: unknown, context: ConstructionContext) => unknown;
  /** Shared with the containers that lie inside. */
  budget?: PickleBudget;
  /** Of the window that the source is read through. */
  windowBytes?: number;
}

export interface Unpickled {
  value: unknown;
  /** Where the pickle ends in the source: the byte after its STOP. */
  end: number;
}

/** Of this file: the machine looks at them millions of times, and an import is a look-up of its own where modules are not bundled. */
const OP = OPCODE;

/** Estimated bytes of our objects. */
const HELD = { dict: 256, memo: 128, container: 96, slot: 16, entry: 64, object: 128 } as const;

/** Of a line of the text protocols that is a module, a name or a reference. */
const LINE_BYTES = 4096;

/** Of one that is a number with a fraction; Python writes at most 24 characters. */
const FLOAT_BYTES = 64;

/** Bytes up to this length are copied, so that reading them later does not open the file again. */
const COPIED_BYTES = 256;

/** Python 2 has one type for bytes and texts. A longer one is nobody's name but the bytes of an array: located, not copied. */
const TEXT_OF_PYTHON_2_BYTES = 65_536;

const TO_NUMBER_LIMIT = 2n ** 53n - 1n;
const toInteger = (value: bigint): number | bigint => (value <= TO_NUMBER_LIMIT && value >= -TO_NUMBER_LIMIT ? Number(value) : value);

/**
 * Reads one pickle: a dict is a Map, a list an array, a tuple a frozen array, a set a Set, None null, an integer a number where it is exact and
 * else a bigint, bytes {@link PickledBytes}, also those of Python 2 that are longer than any text; objects of listed classes
 * {@link PickledObject} or {@link PickledDict}.
 *
 * Throws {@link FileError}: `E_PICKLE_GLOBAL` for a name that is not on the list, `E_PICKLE_OPCODE` for an instruction that data has no use for,
 * `E_PICKLE_LIMIT`, `E_FILE_TRUNCATED`, `E_FILE_FORMAT`.
 */
export function unpickle(source: ByteSource, options: UnpickleOptions = {}): Unpickled {
  return new PickleMachine(source, options).run();
}

class PickleMachine implements ConstructionContext {
  readonly budget: PickleBudget;
  readonly #cursor: ByteCursor;
  readonly #globals = new Map<string, PickledGlobal>();
  readonly #memo = new Map<number, unknown>();
  readonly #marks: number[] = [];
  readonly #stack: unknown[] = [];
  /** Of the instruction being carried out. */
  #instruction = 0;

  constructor(
    private readonly source: ByteSource,
    private readonly options: UnpickleOptions,
  ) {
    this.budget = options.budget ?? new PickleBudget(source.name);
    this.#cursor = new ByteCursor(source, options.at, options.windowBytes);
  }

  run(): Unpickled {
    while (true) {
      this.#instruction = this.#cursor.position;
      this.budget.step();
      const opcode = this.#cursor.uint8();
      if (opcode === OP.STOP) break;
      this.#execute(opcode);
    }
    const value = this.#pop();
    if (this.#stack.length > 0 || this.#marks.length > 0) throw this.fail(`expected one value at the end, found ${this.#stack.length + 1}`);
    return { value, end: this.#cursor.position };
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Errors

  fail(problem: string, code = 'E_FILE_FORMAT'): FileError {
    return new FileError(code, `${this.source.name}: at byte ${this.source.locate(this.#instruction)}: ${problem}`, {
      help: 'this is no whole pickle of weights; download or write it again',
    });
  }

  refuse(module: string, name: string): FileError {
    // A pickle of PyTorch's containers refers to storages outside of itself; only Python's own opens a plain one.
    const load = this.options.persistentLoad
      ? "torch.load(sys.argv[1], map_location='cpu', weights_only=False)"
      : "pickle.load(open(sys.argv[1], 'rb'))['ema']";
    return new FileError(
      'E_PICKLE_GLOBAL',
      `${this.source.name}: at byte ${this.source.locate(this.#instruction)}: expected names of data only, found ${text.printable(`${module}.${name}`)}, which is not on the list of data constructors; nothing was run`,
      {
        help:
          'if you trust the file, convert it to safetensors in Python, where that name is defined: python -c "import sys, pickle, torch; ' +
          `from safetensors.torch import save_file; m = ${load}; s = m.state_dict() if hasattr(m, 'state_dict') else m; ` +
          'save_file({k: v.clone().contiguous() for k, v in s.items()}, sys.argv[2])" IN OUT.safetensors',
      },
    );
  }

  #unsupported(opcode: string): FileError {
    return new FileError(
      'E_PICKLE_OPCODE',
      `${this.source.name}: at byte ${this.source.locate(this.#instruction)}: expected instructions for data, found ${opcode}`,
      { help: 'the pickle needs something outside of its file; if you trust it, load it in Python and save its state dict as safetensors' },
    );
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Stack, marks and memo

  #push(value: unknown): void {
    if (this.#stack.length >= this.budget.limits.stackDepth) throw this.budget.exceeded('stackDepth');
    this.#stack.push(value);
  }

  /** Values below the last mark are out of reach. */
  #pop(): unknown {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw this.fail('expected a value on the stack, found none');
    return this.#stack.pop();
  }

  #top(): unknown {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw this.fail('expected a value on the stack, found none');
    return this.#stack.at(-1);
  }

  #popMark(): unknown[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.fail('expected a mark on the stack, found none');
    return this.#stack.splice(mark);
  }

  #hold(bytes: number): void {
    this.budget.spend('heldBytes', bytes);
  }

  /** Python counts its entries up from 0. */
  #memoize(index: number): void {
    this.budget.bound('instructions', index);
    if (!this.#memo.has(index)) this.#hold(HELD.memo);
    this.#memo.set(index, this.#top());
  }

  #recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.fail(`expected entry ${index} in the memo, found ${this.#memo.size} others`);
    this.#push(value);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Texts, bytes and numbers

  #line(limit = LINE_BYTES): string {
    const line = this.#cursor.line(limit);
    if (!line) throw this.fail(`expected the end of a line within ${limit} bytes`);
    return Buffer.from(line).toString('latin1');
  }

  #text(length: number): string {
    this.#cursor.require(length);
    this.budget.bound('textBytes', length);
    const decoded = text.decodeUtf8(this.#cursor.bytes(length));
    if (decoded === undefined) throw this.fail('expected a text in UTF-8');
    this.#hold(2 * decoded.length + 32);
    return decoded;
  }

  /** Text of Python 2, one byte a character. */
  #latin(length: number): string {
    if (length < 0) throw this.fail(`expected a length, found ${length}`);
    this.#cursor.require(length);
    this.budget.bound('textBytes', length);
    this.#hold(2 * length + 32);
    return Buffer.from(this.#cursor.bytes(length)).toString('latin1');
  }

  #bytes(length: number): PickledBytes {
    this.#cursor.require(length);
    this.#hold(HELD.object);
    if (length <= COPIED_BYTES) {
      this.#hold(length);
      return new PickledBytes(new BufferSource(this.#cursor.bytes(length), this.source.name), 0, length);
    }
    const bytes = new PickledBytes(this.source, this.#cursor.position, length);
    this.#cursor.skip(length);
    return bytes;
  }

  #long(length: number): number | bigint {
    if (length < 0) throw this.fail(`expected a length, found ${length}`);
    this.#cursor.require(length);
    this.budget.bound('integerBytes', length);
    this.#hold(length + 16);
    return toInteger(text.decodeLong(this.#cursor.bytes(length)));
  }

  #integerLine(long: boolean): number | bigint | boolean {
    const line = this.#line(2 * this.budget.limits.integerBytes);
    if (!long && line === '00') return false;
    if (!long && line === '01') return true;
    const digits = long && line.endsWith('L') ? line.slice(0, -1) : line;
    if (!/^\s*[+-]?\d+\s*$/.test(digits)) throw this.fail(`expected an integer, found ${describeValue(line)}`);
    this.#hold(line.length);
    return toInteger(text.parseInteger(digits.trim()));
  }

  #floatLine(): number {
    const line = this.#line(FLOAT_BYTES);
    const value = text.parseFloatOfPython(line);
    if (value === undefined) throw this.fail(`expected a number, found ${describeValue(line)}`);
    return value;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Objects

  #global(module: unknown, name: unknown): PickledGlobal {
    if (typeof module !== 'string' || typeof name !== 'string')
      throw this.fail(`expected a module and a name, found ${describeValue(module)} and ${describeValue(name)}`);
    const key = `${module}\n${name}`;
    const known = this.#globals.get(key);
    if (known) return known;
    const constructors = this.options.constructors?.(module, name) ?? findDataConstructor(module, name);
    if (!constructors) throw this.refuse(module, name);
    const found = new PickledGlobal(module, name, constructors);
    this.#hold(HELD.object + 2 * key.length);
    this.#globals.set(key, found);
    return found;
  }

  #construct(of: unknown, args: unknown, how: 'call' | 'create'): unknown {
    if (!(of instanceof PickledGlobal)) throw this.fail(`expected a data constructor, found ${describeValue(of)}`);
    if (!isTuple(args)) throw this.fail(`expected a tuple of arguments for ${of.qualifiedName}, found ${describeValue(args)}`);
    const make = of.constructors[how];
    if (!make) throw this.refuse(of.module, of.name);
    this.#hold(HELD.dict);
    return make(args, this);
  }

  #build(): void {
    const state = this.#pop();
    const value = this.#top();
    if (!(value instanceof PickledObject) && !(value instanceof PickledDict))
      throw this.fail(`expected an object that takes a state, found ${describeValue(value)}`);
    value.build(state, this);
  }

  #append(items: unknown[]): void {
    const list = this.#top();
    if (!isList(list)) throw this.fail(`expected a list to append to, found ${describeValue(list)}`);
    this.#hold(HELD.slot * items.length);
    for (const item of items) list.push(item);
  }

  #setItems(target: unknown, items: unknown[]): void {
    if (!(target instanceof Map)) throw this.fail(`expected a dict, found ${describeValue(target)}`);
    if (items.length % 2 !== 0) throw this.fail('expected pairs of keys and values, found a key without a value');
    this.#hold((HELD.entry * items.length) / 2);
    for (let i = 0; i < items.length; i += 2) target.set(hashable(items[i], this), items[i + 1]);
  }

  #tuple(items: unknown[]): void {
    this.#hold(HELD.container + HELD.slot * items.length);
    this.#push(tuple(items));
  }

  #list(items: unknown[]): void {
    this.#hold(HELD.container + HELD.slot * items.length);
    this.#push(items);
  }

  #dict(items: unknown[]): void {
    const made = new Map<unknown, unknown>();
    this.#hold(HELD.dict);
    this.#setItems(made, items);
    this.#push(made);
  }

  #set(items: unknown[]): void {
    this.#hold(HELD.dict + HELD.entry * items.length);
    this.#push(new Set(items.map((item) => hashable(item, this))));
  }

  #persistent(id: unknown): void {
    if (!this.options.persistentLoad) throw this.#unsupported('a reference to an object outside of the pickle');
    this.#hold(HELD.object);
    this.#push(this.options.persistentLoad(id, this));
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Instructions

  #execute(opcode: number): void {
    const cursor = this.#cursor;
    switch (opcode) {
      case OP.PROTO: {
        const protocol = cursor.uint8();
        if (protocol > 5) throw this.fail(`expected protocol 0 to 5, found ${protocol}`);
        return;
      }
      case OP.FRAME: {
        const length = cursor.length64();
        return cursor.require(length);
      }

      case OP.NONE:
        return this.#push(null);
      case OP.NEWTRUE:
        return this.#push(true);
      case OP.NEWFALSE:
        return this.#push(false);
      case OP.BININT:
        return this.#push(cursor.int32());
      case OP.BININT1:
        return this.#push(cursor.uint8());
      case OP.BININT2:
        return this.#push(cursor.uint16());
      case OP.LONG1:
        return this.#push(this.#long(cursor.uint8()));
      case OP.LONG4:
        return this.#push(this.#long(cursor.int32()));
      case OP.INT:
        return this.#push(this.#integerLine(false));
      case OP.LONG:
        return this.#push(this.#integerLine(true));
      case OP.FLOAT:
        return this.#push(this.#floatLine());
      case OP.BINFLOAT:
        return this.#push(cursor.float64BigEndian());

      case OP.SHORT_BINUNICODE:
        return this.#push(this.#text(cursor.uint8()));
      case OP.BINUNICODE:
        return this.#push(this.#text(cursor.uint32()));
      case OP.BINUNICODE8:
        return this.#push(this.#text(cursor.length64()));
      case OP.SHORT_BINSTRING:
        return this.#push(this.#latin(cursor.uint8()));
      case OP.BINSTRING: {
        const length = cursor.int32();
        return this.#push(length > TEXT_OF_PYTHON_2_BYTES ? this.#bytes(length) : this.#latin(length));
      }
      case OP.UNICODE:
      case OP.STRING: {
        const line = this.#line(this.budget.limits.textBytes);
        this.#hold(2 * line.length + 32);
        const decoded = opcode === OP.UNICODE ? text.unescapeUnicode(line) : text.unescapeString(line);
        if (decoded === undefined) throw this.fail('expected a text in the notation of Python');
        return this.#push(decoded);
      }
      case OP.SHORT_BINBYTES:
        return this.#push(this.#bytes(cursor.uint8()));
      case OP.BINBYTES:
        return this.#push(this.#bytes(cursor.uint32()));
      case OP.BINBYTES8:
      case OP.BYTEARRAY8:
        return this.#push(this.#bytes(cursor.length64()));

      case OP.EMPTY_LIST:
        return this.#list([]);
      case OP.LIST:
        return this.#list(this.#popMark());
      case OP.EMPTY_TUPLE:
        return this.#tuple([]);
      case OP.TUPLE:
        return this.#tuple(this.#popMark());
      case OP.TUPLE1:
        return this.#tuple([this.#pop()]);
      case OP.TUPLE2: {
        const second = this.#pop();
        return this.#tuple([this.#pop(), second]);
      }
      case OP.TUPLE3: {
        const third = this.#pop();
        const second = this.#pop();
        return this.#tuple([this.#pop(), second, third]);
      }
      case OP.EMPTY_DICT:
        return this.#dict([]);
      case OP.DICT:
        return this.#dict(this.#popMark());
      case OP.EMPTY_SET:
        return this.#set([]);
      case OP.FROZENSET:
        return this.#set(this.#popMark());
      case OP.APPEND:
        return this.#append([this.#pop()]);
      case OP.APPENDS:
        return this.#append(this.#popMark());
      case OP.SETITEM: {
        const value = this.#pop();
        const key = this.#pop();
        return this.#setItems(this.#top(), [key, value]);
      }
      case OP.SETITEMS: {
        const items = this.#popMark();
        return this.#setItems(this.#top(), items);
      }
      case OP.ADDITEMS: {
        const items = this.#popMark();
        const target = this.#top();
        if (!(target instanceof Set)) throw this.fail(`expected a set, found ${describeValue(target)}`);
        this.#hold(HELD.entry * items.length);
        for (const item of items) target.add(hashable(item, this));
        return;
      }

      case OP.MARK:
        this.#hold(8);
        this.#marks.push(this.#stack.length);
        return;
      case OP.POP:
        // A mark on top of the stack is what is popped then.
        if (this.#marks.length > 0 && this.#marks.at(-1) === this.#stack.length) this.#marks.pop();
        else this.#pop();
        return;
      case OP.POP_MARK:
        this.#popMark();
        return;
      case OP.DUP:
        return this.#push(this.#top());
      case OP.PUT: {
        const index = this.#integerLine(false);
        if (typeof index !== 'number' || index < 0) throw this.fail(`expected the number of an entry, found ${describeValue(index)}`);
        return this.#memoize(index);
      }
      case OP.BINPUT:
        return this.#memoize(cursor.uint8());
      case OP.LONG_BINPUT:
        return this.#memoize(cursor.uint32());
      case OP.MEMOIZE:
        return this.#memoize(this.#memo.size);
      case OP.GET:
        return this.#recall(Number(this.#integerLine(false)));
      case OP.BINGET:
        return this.#recall(cursor.uint8());
      case OP.LONG_BINGET:
        return this.#recall(cursor.uint32());

      case OP.GLOBAL: {
        const module = text.decodeUtf8(Buffer.from(this.#line(), 'latin1'));
        const name = text.decodeUtf8(Buffer.from(this.#line(), 'latin1'));
        return this.#push(this.#global(module, name));
      }
      case OP.STACK_GLOBAL: {
        const name = this.#pop();
        const module = this.#pop();
        return this.#push(this.#global(module, name));
      }
      case OP.REDUCE: {
        const args = this.#pop();
        return this.#push(this.#construct(this.#pop(), args, 'call'));
      }
      case OP.NEWOBJ: {
        const args = this.#pop();
        return this.#push(this.#construct(this.#pop(), args, 'create'));
      }
      case OP.NEWOBJ_EX: {
        const named = this.#pop();
        const args = this.#pop();
        const of = this.#pop();
        if (!(named instanceof Map) || named.size > 0) throw this.fail(`expected no named arguments, found ${describeValue(named)}`);
        return this.#push(this.#construct(of, args, 'create'));
      }
      case OP.INST: {
        const of = this.#global(this.#line(), this.#line());
        return this.#push(this.#construct(of, tuple(this.#popMark()), 'create'));
      }
      case OP.OBJ: {
        const [of, ...args] = this.#popMark();
        return this.#push(this.#construct(of, tuple(args), 'create'));
      }
      case OP.BUILD:
        return this.#build();
      case OP.PERSID:
        return this.#persistent(this.#line());
      case OP.BINPERSID:
        return this.#persistent(this.#pop());

      case OP.EXT1:
      case OP.EXT2:
      case OP.EXT4:
        throw this.#unsupported('a code of the extension registry');
      case OP.NEXT_BUFFER:
      case OP.READONLY_BUFFER:
        throw this.#unsupported('a buffer outside of the pickle');
      default:
        throw this.fail(`expected an instruction of a pickle, found the byte 0x${opcode.toString(16).padStart(2, '0')}`);
    }
  }
}

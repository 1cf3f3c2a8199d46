import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OnestepError } from '../errors.js';
import { BufferSource } from '../pickle/index.js';
import { OPCODE } from '../pickle/opcodes.js';
import { openTorchFile, readTorchFile, stateDict, TorchTensor } from './index.js';
import { bytes, call, legacy, MAGIC, pickle, storage, tensor, torchZip, u32, u64, write, zip, type Written } from './test-support.js';

const read = (file: Uint8Array) => readTorchFile(new BufferSource(file, 'hostile.bin'));

/** Opens, finds all tensors and reads the small ones, as any use of a file would. */
async function use(file: Uint8Array): Promise<void> {
  const { root } = await read(file);
  for (const [name, found] of stateDict(root)) if (found.size < 1e6) await found.read(name);
}

const repeat = (count: number, ...parts: (number | string | Uint8Array)[]) => Buffer.alloc(bytes(...parts).length * count, bytes(...parts));
const text = (value: string) => write(value);
const memoized = (instructions: Uint8Array, index: number) => bytes(instructions, OPCODE.BINPUT, index);
const get = (index: number) => bytes(OPCODE.BINGET, index);
const good = { name: 'archive/data.pkl', data: pickle(tensor(storage('0', 2), 0, [2], [1])) };
const values = { name: 'archive/data/0', data: new Uint8Array(8) };
const one = (...args: Parameters<typeof tensor>) => torchZip(tensor(...args));

/** Lists of ten references to the list before: 10^levels values for whoever copies them. */
const laughs = (levels: number, make: (level: number) => Uint8Array) => bytes(...Array.from({ length: levels }, (_, level) => make(level)));

const corpus: [what: string, file: () => Uint8Array, code: string, message: RegExp][] = [
  // Names
  ['a call of os.system', () => pickle(call('os.system', 'touch /tmp/pwned')), 'E_PICKLE_GLOBAL', /os\.system/],
  ['a call of builtins.eval', () => pickle(call('builtins.eval', '1')), 'E_PICKLE_GLOBAL', /builtins\.eval/],
  ['builtins.getattr', () => pickle(write({ global: 'builtins.getattr' })), 'E_PICKLE_GLOBAL', /builtins\.getattr/],
  [
    'a name that is never called',
    () => pickle(write({ global: 'subprocess.Popen' }), OPCODE.POP, OPCODE.NONE),
    'E_PICKLE_GLOBAL',
    /subprocess\.Popen/,
  ],
  ['a name from the stack', () => pickle(text('posix'), text('system'), OPCODE.STACK_GLOBAL), 'E_PICKLE_GLOBAL', /posix\.system/],
  [
    'a dotted name below a listed module',
    () => pickle(text('torch.nn.modules.linear'), text('Linear.forward'), OPCODE.STACK_GLOBAL),
    'E_PICKLE_GLOBAL',
    /Linear\.forward/,
  ],
  [
    'a module below a listed prefix',
    () => pickle(text('torch.nn.modules.os.sys'), text('Exit'), OPCODE.STACK_GLOBAL),
    'E_PICKLE_GLOBAL',
    /os\.sys\.Exit/,
  ],
  ['a name of the prototype', () => pickle(write({ global: 'torch.constructor' })), 'E_PICKLE_GLOBAL', /torch\.constructor/],
  ['__proto__', () => pickle(text('__proto__'), text('__proto__'), OPCODE.STACK_GLOBAL), 'E_PICKLE_GLOBAL', /__proto__/],
  ['INST of a class', () => bytes('(ios\nsystem\n.'), 'E_PICKLE_GLOBAL', /os\.system/],
  ['OBJ of a class', () => pickle(OPCODE.MARK, write({ global: 'webbrowser.open' }), OPCODE.OBJ), 'E_PICKLE_GLOBAL', /webbrowser\.open/],
  ['a module called instead of made', () => pickle(call('torch.nn.modules.linear.Linear', 1, 1)), 'E_PICKLE_GLOBAL', /Linear/],
  [
    'a class without data made',
    () => pickle(write({ global: 'torch.Tensor' }), OPCODE.EMPTY_TUPLE, OPCODE.NEWOBJ),
    'E_PICKLE_GLOBAL',
    /torch\.Tensor/,
  ],
  [
    'a hidden name after a terminal escape',
    () => pickle(text('\x1b[2J'), text('\u009bx'), OPCODE.STACK_GLOBAL),
    'E_PICKLE_GLOBAL',
    /found \\u001b\[2J\.\\u009bx/,
  ],
  ['torch.load', () => pickle(call('torch.load', 'x')), 'E_PICKLE_GLOBAL', /torch\.load/],
  ['numpy.load', () => pickle(call('numpy.load', 'x')), 'E_PICKLE_GLOBAL', /numpy\.load/],
  ['operator.attrgetter in a zip', () => torchZip(call('operator.attrgetter', 'system')), 'E_PICKLE_GLOBAL', /operator\.attrgetter/],
  ['a name in a legacy container', () => legacy({ object: call('os.system', 'x') }), 'E_PICKLE_GLOBAL', /os\.system/],
  ['a name in the facts of a legacy container', () => legacy({ facts: call('os.system', 'x') }), 'E_PICKLE_GLOBAL', /os\.system/],
  ['a name in a container in a pickle', () => pickle(bytesOf(legacy({ object: call('os.system', 'x') }))), 'E_PICKLE_GLOBAL', /os\.system/],
  [
    'a container in a container in a pickle',
    () => pickle(bytesOf(legacy({ object: bytesOf(legacy()) }))),
    'E_PICKLE_GLOBAL',
    /_load_from_bytes/,
  ],

  // Instructions
  ['the extension registry', () => pickle(OPCODE.EXT1, 1), 'E_PICKLE_OPCODE', /extension/],
  ['the extension registry by four bytes', () => pickle(OPCODE.EXT4, u32(1)), 'E_PICKLE_OPCODE', /extension/],
  ['a buffer outside', () => pickle(OPCODE.NEXT_BUFFER), 'E_PICKLE_OPCODE', /buffer/],
  ['a reference outside of a container', () => pickle(storage('0', 2)), 'E_PICKLE_OPCODE', /outside/],
  ['a reference of protocol 0', () => bytes('P0\n.'), 'E_PICKLE_OPCODE', /outside/],
  ['an unknown instruction', () => pickle(0xff), 'E_FILE_FORMAT', /0xff/],
  ['protocol 6', () => bytes(OPCODE.PROTO, 6, OPCODE.NONE, OPCODE.STOP), 'E_FILE_FORMAT', /protocol 0 to 5, found 6/],
  ['nothing on the stack', () => pickle(), 'E_FILE_FORMAT', /on the stack/],
  ['two values at the end', () => pickle(OPCODE.NONE, OPCODE.NONE), 'E_FILE_FORMAT', /one value/],
  ['a value below the mark', () => pickle(OPCODE.NONE, OPCODE.MARK, OPCODE.TUPLE1), 'E_FILE_FORMAT', /on the stack/],
  ['no mark', () => pickle(OPCODE.NONE, OPCODE.TUPLE), 'E_FILE_FORMAT', /mark/],
  ['an absent entry of the memo', () => pickle(get(7)), 'E_FILE_FORMAT', /memo/],
  ['items for a number', () => pickle(OPCODE.NONE, OPCODE.NONE, OPCODE.APPEND), 'E_FILE_FORMAT', /a list/],
  ['a tuple that grows', () => pickle(OPCODE.EMPTY_TUPLE, OPCODE.NONE, OPCODE.APPEND), 'E_FILE_FORMAT', /a list/],
  ['a dict as a key', () => pickle(OPCODE.EMPTY_DICT, OPCODE.EMPTY_DICT, OPCODE.NONE, OPCODE.SETITEM), 'E_FILE_FORMAT', /hashed/],
  ['a key without a value', () => pickle(OPCODE.EMPTY_DICT, OPCODE.MARK, OPCODE.NONE, OPCODE.SETITEMS), 'E_FILE_FORMAT', /key without/],
  ['a state for a text', () => pickle(text('x'), OPCODE.NONE, OPCODE.BUILD), 'E_FILE_FORMAT', /state/],
  ['a call of a text', () => pickle(text('x'), OPCODE.EMPTY_TUPLE, OPCODE.REDUCE), 'E_FILE_FORMAT', /constructor/],
  ['invalid UTF-8', () => pickle(OPCODE.SHORT_BINUNICODE, 1, 0xff), 'E_FILE_FORMAT', /UTF-8/],
  ['a number that is none', () => bytes('I12x\n.'), 'E_FILE_FORMAT', /integer/],
  ['a float that is none', () => bytes('F1e\n.'), 'E_FILE_FORMAT', /number/],
  ['a float of thousands of digits', () => bytes(`F${'1'.repeat(5000)}\n.`), 'E_FILE_FORMAT', /64 bytes/],
  ['a negative length', () => pickle(OPCODE.BINSTRING, u32(-1)), 'E_FILE_FORMAT', /length/],
  ['bytes after the end', () => bytes(pickle(OPCODE.NONE), 'x'), 'E_FILE_FORMAT', /1 more bytes/],

  // Lengths beyond the file
  ['an integer of two gigabytes', () => pickle(OPCODE.LONG4, u32(0x7fffffff)), 'E_FILE_TRUNCATED', /expected/],
  ['a text beyond the file', () => pickle(OPCODE.BINUNICODE8, u64(2n ** 63n)), 'E_FILE_TRUNCATED', /expected/],
  ['bytes beyond the file', () => pickle(OPCODE.BINBYTES8, u64(2n ** 64n - 1n)), 'E_FILE_TRUNCATED', /expected/],
  ['a frame beyond the file', () => pickle(OPCODE.FRAME, u64(1000)), 'E_FILE_TRUNCATED', /expected/],
  ['no end', () => bytes(OPCODE.PROTO, 4, OPCODE.NONE), 'E_FILE_TRUNCATED', /expected/],
  ['no bytes', () => bytes(), 'E_FILE_TRUNCATED', /no bytes/],

  // Bounds
  ['an integer of a kilobyte', () => pickle(OPCODE.LONG4, u32(1024), new Uint8Array(1024)), 'E_PICKLE_LIMIT', /integer bytes/],
  ['a text of 9 MB', () => pickle(OPCODE.BINUNICODE, u32(9e6), new Uint8Array(9e6)), 'E_PICKLE_LIMIT', /text bytes/],
  ['a line of 9 MB', () => bytes('V', new Uint8Array(9e6).fill(65), '\n.'), 'E_FILE_FORMAT', /end of a line/],
  ['millions of instructions', () => pickle(repeat(1_100_000, OPCODE.NONE, OPCODE.POP)), 'E_PICKLE_LIMIT', /instructions/],
  ['millions of values on the stack', () => pickle(repeat(600_000, OPCODE.NONE)), 'E_PICKLE_LIMIT', /stack depth/],
  ['millions of dicts', () => pickle(OPCODE.EMPTY_LIST, repeat(400_000, OPCODE.EMPTY_DICT, OPCODE.APPEND)), 'E_PICKLE_LIMIT', /held bytes/],
  ['millions of sets', () => pickle(repeat(400_000, OPCODE.EMPTY_SET)), 'E_PICKLE_LIMIT', /held bytes/],
  ['millions of entries in the memo', () => pickle(OPCODE.NONE, repeat(700_000, OPCODE.MEMOIZE)), 'E_PICKLE_LIMIT', /held bytes/],
  ['millions of marks', () => pickle(repeat(2_100_000, OPCODE.MARK)), 'E_PICKLE_LIMIT', /instructions/],
  ['an entry of the memo far away', () => pickle(OPCODE.NONE, OPCODE.LONG_BINPUT, u32(0xffffffff)), 'E_PICKLE_LIMIT', /instructions/],
  [
    'keys that could be chosen to collide',
    () => pickle(OPCODE.MARK, ...Array.from({ length: 30_000 }, (_, i) => bytes(OPCODE.BININT, u32(i << 15), OPCODE.NONE)), OPCODE.DICT),
    'E_PICKLE_LIMIT',
    /numbered keys/,
  ],
  [
    'a list copied over and over',
    () =>
      pickle(
        memoized(bytes(OPCODE.MARK, repeat(10_000, OPCODE.NONE), OPCODE.LIST), 0),
        repeat(1000, call('builtins.set', get(0)), OPCODE.POP),
      ),
    'E_PICKLE_LIMIT',
    /held bytes/,
  ],
  [
    'a dict that is the previous one, again and again',
    () =>
      pickle(
        memoized(write({ dict: Array.from({ length: 5000 }, (_, i): [Written, Written] => [`k${i}`, null]) }), 0),
        repeat(1000, write({ global: 'collections.OrderedDict' }), get(0), OPCODE.TUPLE1, OPCODE.REDUCE),
      ),
    'E_PICKLE_LIMIT',
    /held bytes/,
  ],
  [
    'one container in a pickle, read again and again',
    () =>
      pickle(
        memoized(bytes(OPCODE.BINBYTES, u32(legacy().length), legacy()), 0),
        repeat(7000, call('torch.storage._load_from_bytes', get(0)), OPCODE.POP),
      ),
    'E_PICKLE_LIMIT',
    /nested containers/,
  ],
  [
    'a billion names of one dict',
    () =>
      pickle(
        laughs(12, (level) =>
          memoized(
            write({ dict: Array.from({ length: 10 }, (_, i): [Written, Written] => [`k${i}`, level === 0 ? null : get(level - 1)]) }),
            level,
          ),
        ),
        repeat(11, bytes(OPCODE.TUPLE2)),
      ),
    'E_PICKLE_LIMIT',
    /state dict/,
  ],
  [
    'a dict in itself',
    () => pickle(memoized(bytes(OPCODE.EMPTY_DICT), 0), text('k'), get(0), OPCODE.SETITEM),
    'E_PICKLE_LIMIT',
    /100 levels/,
  ],
  ['tuples a million deep', () => pickle(OPCODE.NONE, repeat(400_000, OPCODE.TUPLE1)), 'E_PICKLE_LIMIT', /100 levels/],
  [
    'lists a hundred thousand deep',
    () => pickle(repeat(100_000, OPCODE.EMPTY_LIST), repeat(99_999, OPCODE.APPEND)),
    'E_PICKLE_LIMIT',
    /100 levels/,
  ],

  // Tensors
  [
    'a view past its storage',
    () => one(storage('0', 2), 1, [2], [1]),
    'E_FILE_FORMAT',
    /inside its storage of 2 values, found its last value at 2/,
  ],
  ['an offset past its storage', () => one(storage('0', 2), 2n ** 40n, [1], [1]), 'E_FILE_FORMAT', /inside its storage/],
  ['a negative offset', () => one(storage('0', 2), -1, [1], [1]), 'E_FILE_FORMAT', /offset/],
  ['a negative stride', () => one(storage('0', 2), 1, [2], [-1]), 'E_FILE_FORMAT', /strides/],
  ['a negative size', () => one(storage('0', 2), 0, [-2], [1]), 'E_FILE_FORMAT', /shape/],
  ['a size that is no number', () => one(storage('0', 2), 0, ['2'], [1]), 'E_FILE_FORMAT', /shape/],
  ['a size beyond every number', () => one(storage('0', 2), 0, [2n ** 90n], [1]), 'E_FILE_FORMAT', /shape/],
  ['a shape whose product overflows', () => one(storage('0', 2), 0, [2n ** 50n, 2n ** 50n], [1, 1]), 'E_FILE_FORMAT', /inside its storage/],
  [
    'a stride that overflows',
    () => one(storage('0', 2), 0, [2, 2], [2n ** 53n - 1n, 2n ** 53n - 1n]),
    'E_FILE_FORMAT',
    /inside its storage/,
  ],
  ['65 axes', () => one(storage('0', 2), 0, Array<number>(65).fill(1), Array<number>(65).fill(0)), 'E_FILE_FORMAT', /at most 64/],
  ['a million axes', () => one(storage('0', 2), 0, [repeat(100_000, OPCODE.BININT1, 1)], [1]), 'E_FILE_FORMAT', /at most 64/],
  ['fewer strides than axes', () => one(storage('0', 2), 0, [1, 1], [1]), 'E_FILE_FORMAT', /2 strides/],
  ['a value repeated to gigabytes', () => one(storage('0', 2), 0, [2 ** 30], [0]), 'E_PICKLE_LIMIT', /repeated values/],
  ['a tensor of a text', () => one(text('x'), 0, [1], [1]), 'E_FILE_FORMAT', /a storage/],
  ['a parameter of a text', () => torchZip(call('torch._utils._rebuild_parameter', 'x', true, null)), 'E_FILE_FORMAT', /a tensor/],
  ['a storage of another length', () => one(storage('0', 3), 0, [2], [1]), 'E_FILE_FORMAT', /archive\/data\/0: expected 12 bytes/],
  ['a storage of a negative length', () => one(storage('0', -3), 0, [2], [1]), 'E_FILE_FORMAT', /length/],
  ['a storage of another folder', () => one(storage('../../../etc/passwd', 2), 0, [2], [1]), 'E_FILE_FORMAT', /expected an entry/],
  ['a storage of no type', () => one(storage('0', 2, 'torch.float32'), 0, [2], [1]), 'E_FILE_FORMAT', /class of a storage/],
  [
    'a conjugate view',
    () =>
      torchZip(
        call('torch._utils._rebuild_tensor_v2', storage('0', 2), 0, { tuple: [2] }, { tuple: [1] }, false, null, {
          dict: [['conj', true]],
        }),
      ),
    'E_FILE_FORMAT',
    /conjugate/,
  ],
  [
    'a function that calls itself',
    () =>
      torchZip(call('torch._tensor._rebuild_from_type_v2', { global: 'torch._tensor._rebuild_from_type_v2' }, null, { tuple: [] }, null)),
    'E_FILE_FORMAT',
    /makes tensors/,
  ],
  [
    'an array of another size',
    () =>
      pickle(
        call(
          'numpy.core.numeric._frombuffer',
          bytes(OPCODE.SHORT_BINBYTES, 1, 0),
          call('numpy.dtype', 'f8'),
          { tuple: [2n ** 53n - 1n, 2n ** 53n - 1n] },
          'C',
        ),
      ),
    'E_FILE_FORMAT',
    /bytes for a numpy/,
  ],
  [
    'an array of objects',
    () => pickle(call('numpy.core.numeric._frombuffer', bytes(OPCODE.SHORT_BINBYTES, 0), call('numpy.dtype', 'O8'), { tuple: [0] }, 'C')),
    'E_FILE_FORMAT',
    /array of numbers/,
  ],

  // The legacy container
  ['another protocol', () => legacy({ protocol: 1000 }), 'E_FILE_FORMAT', /protocol 1001, found 1000/],
  ['a big-endian machine', () => legacy({ facts: { dict: [['little_endian', false]] } }), 'E_FILE_UNSUPPORTED', /big-endian/],
  ['facts that are none', () => legacy({ facts: null }), 'E_FILE_FORMAT', /facts/],
  ['a storage that is not listed', () => legacy({ keys: [] }), 'E_FILE_FORMAT', /list of 1 storages/],
  ['another storage listed', () => legacy({ keys: ['b'] }), 'E_FILE_FORMAT', /each storage once, found "b"/],
  [
    'one storage listed twice',
    () =>
      legacy({
        object: write([storage('a', 2), storage('b', 2)]),
        keys: ['a', 'a'],
        data: bytes(u64(2), new Uint8Array(8), u64(2), new Uint8Array(8)),
      }),
    'E_FILE_FORMAT',
    /each storage once/,
  ],
  ['another length', () => legacy({ data: bytes(u64(3), new Uint8Array(12)) }), 'E_FILE_FORMAT', /2 values in storage a, found 3/],
  ['a negative length in the data', () => legacy({ data: bytes(u64(-1), new Uint8Array(8)) }), 'E_FILE_FORMAT', /found -1/],
  ['values beyond the file', () => legacy({ data: bytes(u64(2), new Uint8Array(7)) }), 'E_FILE_TRUNCATED', /expected/],
  ['a storage of terabytes', () => legacy({ object: storage('a', 2n ** 45n), data: u64(2n ** 45n) }), 'E_FILE_TRUNCATED', /expected/],
  ['values after the end', () => legacy({ data: bytes(u64(2), new Uint8Array(9)) }), 'E_FILE_FORMAT', /1 more bytes/],
  ['nothing after the magic number', () => pickle(write(MAGIC)), 'E_FILE_TRUNCATED', /expected/],
  [
    'a part past its storage',
    () => legacy({ object: storage('a', 2, undefined, { tuple: ['v', 1, 2] }) }),
    'E_FILE_FORMAT',
    /part of storage a of 2 values/,
  ],
  [
    'two storages of one key',
    () => legacy({ object: write([storage('a', 2), storage('a', 4)]) }),
    'E_FILE_FORMAT',
    /storage a of 2 F32, found 4/,
  ],
  [
    'bytes that are no container',
    () => pickle(call('torch.storage._load_from_bytes', bytes(OPCODE.BINBYTES, u32(2), 'N.'))),
    'E_FILE_FORMAT',
    /legacy container/,
  ],

  // Zip archives
  ['an empty archive', () => zip([]), 'E_FILE_FORMAT', /one data\.pkl in the archive, found none/],
  ['no data.pkl', () => zip([values]), 'E_FILE_FORMAT', /one data\.pkl/],
  ['two data.pkl', () => zip([good, values, { ...good, name: 'other/data.pkl' }]), 'E_FILE_FORMAT', /found 2/],
  ['one entry twice', () => zip([good, values, { ...values, data: new Uint8Array(8).fill(1) }]), 'E_FILE_FORMAT', /data\/0: expected once/],
  [
    'a path that leaves the folder',
    () => zip([good, values, { name: '../../etc/cron.d/x', data: bytes() }]),
    'E_FILE_FORMAT',
    /\.\.\/\.\.\/etc/,
  ],
  ['an absolute path', () => zip([good, values, { name: '/etc/passwd', data: bytes() }]), 'E_FILE_FORMAT', /\/etc\/passwd/],
  ['a path with backslashes', () => zip([good, values, { name: '..\\x', data: bytes() }]), 'E_FILE_FORMAT', /invalid characters/],
  [
    'a compressed entry that grows a thousandfold',
    () => zip([{ ...good, method: 8, central: { uncompressedSize: 2 ** 31 } }, values]),
    'E_FILE_UNSUPPORTED',
    /compression method 8/,
  ],
  [
    'an encrypted entry',
    () => zip([{ ...good, flags: 1, central: { size: good.data.length + 12, uncompressedSize: good.data.length } }, values]),
    'E_FILE_UNSUPPORTED',
    /encrypted/,
  ],
  ['stored sizes that differ', () => zip([good, { ...values, central: { uncompressedSize: 2 ** 31 } }]), 'E_FILE_FORMAT', /mismatch/],
  ['an entry beyond the file', () => zip([good, { ...values, central: { size: 2 ** 30 } }]), 'E_FILE_TRUNCATED', /expected/],
  [
    'an entry that runs into the directory',
    () => zip([good, { ...values, central: { size: 40 }, local: { size: 40 } }]),
    'E_FILE_FORMAT',
    /before the directory/,
  ],
  ['overlapping entries', () => zip([good, { ...values, central: { offset: 0 } }]), 'E_FILE_FORMAT', /header/],
  [
    'entries that overlap in part',
    () => zip([{ ...good, central: { size: good.data.length + 20 }, local: { size: good.data.length + 20 } }, values]),
    'E_FILE_FORMAT',
    /after byte/,
  ],
  ['a header beyond the file', () => zip([good, { ...values, central: { offset: 2 ** 31 } }]), 'E_FILE_TRUNCATED', /expected/],
  ['a header that is none', () => zip([good, { ...values, central: { offset: 7 } }]), 'E_FILE_FORMAT', /header/],
  ['another name in the header', () => zip([good, { ...values, local: { name: 'archive/data/1' } }]), 'E_FILE_FORMAT', /archive\/data\/1/],
  ['another size in the header', () => zip([good, { ...values, local: { size: 4 } }]), 'E_FILE_FORMAT', /same in the directory/],
  ['more entries than there are', () => zip([good, values], { entryCount: 9 }), 'E_FILE_TRUNCATED', /expected/],
  ['a directory elsewhere', () => zip([good, values], { directoryOffset: 3 }), 'E_FILE_FORMAT', /damaged/],
  ['a directory beyond the file', () => zip([good, values], { directoryOffset: 2 ** 31 }), 'E_FILE_TRUNCATED', /expected/],
  ['bytes after the directory', () => zip([good, values], { trailer: 'x' }), 'E_FILE_FORMAT', /damaged/],
  [
    'tens of thousands of entries',
    () => zip([good, values, ...Array.from({ length: 20_000 }, (_, i) => ({ name: `archive/data/${i + 1}`, data: bytes() }))]),
    'E_FILE_FORMAT',
    /at most 20000 entries/,
  ],
  [
    'a program of TorchScript',
    () => torchZip(undefined, [{ name: 'archive/constants.pkl', data: bytes() }]),
    'E_FILE_UNSUPPORTED',
    /TorchScript/,
  ],
  ['code of TorchScript', () => torchZip(undefined, [{ name: 'archive/code/x.py', data: bytes() }]), 'E_FILE_UNSUPPORTED', /TorchScript/],
  [
    'big-endian values',
    () => torchZip(undefined, [{ name: 'archive/byteorder', data: bytes('big') }]),
    'E_FILE_UNSUPPORTED',
    /byte order big/,
  ],
  [
    'a byte order that is a book',
    () => torchZip(undefined, [{ name: 'archive/byteorder', data: new Uint8Array(100) }]),
    'E_FILE_FORMAT',
    /a word/,
  ],
  ['bytes after the pickle', () => zip([{ ...good, data: bytes(good.data, 'x') }, values]), 'E_FILE_FORMAT', /bytes of pickle/],

  // Other formats
  ['a tar archive', () => bytes(new Uint8Array(257), 'ustar', new Uint8Array(300)), 'E_FILE_UNSUPPORTED', /tar archive/],
  ['a pointer of Git LFS', () => bytes('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n'), 'E_FILE_UNSUPPORTED', /LFS/],
  ['a web page', () => bytes('<!DOCTYPE html><html></html>'), 'E_FILE_UNSUPPORTED', /HTML/],
  ['a safetensors file', () => bytes(u64(14), '{"a":{}}      '), 'E_FILE_UNSUPPORTED', /safetensors/],
  ['half an archive', () => torchZip().subarray(0, 150), 'E_FILE_TRUNCATED', /directory of a zip archive/],
  ['two bytes', () => bytes('PK'), 'E_FILE_TRUNCATED', /directory of a zip archive/],
];

function bytesOf(container: Uint8Array): Uint8Array {
  return call('torch.storage._load_from_bytes', bytes(OPCODE.BINBYTES, u32(container.length), container));
}

/** Of processor time, which other work on the machine does not add to, and of memory. */
const SECONDS = 1;
const MEMORY = 200e6;

describe('hostile files', () => {
  it.each(corpus)('%s', async (_, file, code, message) => {
    const content = file();
    const before = process.memoryUsage().rss;
    const started = process.cpuUsage();
    const error = await use(content).then(
      () => undefined,
      (caught: unknown) => caught,
    );
    const { user, system } = process.cpuUsage(started);
    expect(error).toBeInstanceOf(OnestepError);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message), help: expect.any(String) });
    expect((error as Error).message).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
    expect((error as Error).message.length).toBeLessThan(2000);
    expect((user + system) / 1e6).toBeLessThan(SECONDS);
    expect(process.memoryUsage().rss - before).toBeLessThan(MEMORY);
  });

  it('what they are made of is read when it is whole', async () => {
    for (const file of [torchZip(), legacy(), pickle(tensor(bytesOf(legacy({ object: storage('a', 2) })), 0, [2], [1]))]) {
      const { root } = await read(file);
      expect(root).toBeInstanceOf(TorchTensor);
      expect(await (root as TorchTensor).readAsFloat32()).toHaveLength(2);
    }
    const part = await read(legacy({ object: tensor(storage('a', 2, undefined, { tuple: ['v', 1, 1] }), 0, [1], [1]) }));
    expect([...(await (part.root as TorchTensor).readAsFloat32())]).toEqual([2]);
  });
});

describe('any file is data or our error', () => {
  const goldens = ['state-dict.pth', 'state-dict-legacy.pth', 'edm-snapshot.pkl'].map((name) => readFileSync(`test/golden/${name}`));
  const small = [
    'views-zip.pth',
    'views-legacy.pth',
    'snapshot-p0.pkl',
    'snapshot-p2.pkl',
    'snapshot-p4.pkl',
    'snapshot-p5.pkl',
    'module.pth',
  ].map((name) => readFileSync(`test/golden/torch-files/${name}`));

  async function expectDataOrOurError(file: Uint8Array): Promise<void> {
    const started = process.cpuUsage();
    await use(file).catch((error: unknown) => {
      if (!(error instanceof OnestepError)) throw error;
    });
    const { user, system } = process.cpuUsage(started);
    expect((user + system) / 1e6).toBeLessThan(SECONDS);
  }

  it('random bytes', () => fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), expectDataOrOurError), { numRuns: 500 }));

  it('random programs', () => {
    const instruction = fc.constantFrom(...Object.values(OPCODE));
    const argument = fc.oneof(
      fc.constant(new Uint8Array(0)),
      fc.uint8Array({ maxLength: 9 }),
      fc
        .constantFrom('collections\nOrderedDict\n', 'torch._utils\n_rebuild_tensor_v2\n', 'numpy\ndtype\n', '1\n', "'a'\n")
        .map((line) => bytes(line)),
    );
    const program = fc
      .array(fc.tuple(instruction, argument), { maxLength: 60 })
      .map((parts) => bytes(0x80, 4, ...parts.flat(), OPCODE.STOP));
    return fc.assert(
      fc.asyncProperty(program, fc.boolean(), (p, zipped) =>
        expectDataOrOurError(zipped ? zip([{ name: 'a/data.pkl', data: p }, values]) : p),
      ),
      {
        numRuns: 1000,
      },
    );
  });

  it('damaged files', () => {
    const damage = fc.record({
      file: fc.constantFrom(...small, ...small, ...goldens),
      flips: fc.array(fc.tuple(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.integer({ min: 1, max: 255 })), {
        maxLength: 8,
      }),
      keep: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
    });
    return fc.assert(
      fc.asyncProperty(damage, ({ file, flips, keep }) => {
        const copy = new Uint8Array(file.subarray(0, keep === null ? undefined : Math.floor(keep * file.length)));
        for (const [at, bits] of flips) if (copy.length > 0) copy[Math.floor(at * copy.length)]! ^= bits;
        return expectDataOrOurError(copy);
      }),
      { numRuns: 400 },
    );
  });

  it('whole files cut at any byte are refused', async () => {
    for (const file of small)
      for (let length = 0; length < file.length; length += 1 + Math.floor(length / 100))
        await expect(use(file.subarray(0, length))).rejects.toBeInstanceOf(OnestepError);
  });
});

describe('files on the disk', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'onestep-torch-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('an absent file, a directory and a device', async () => {
    await expect(openTorchFile(join(directory, 'absent.pth'))).rejects.toMatchObject({ name: 'FileError', code: 'E_FILE_ABSENT' });
    await expect(openTorchFile(directory)).rejects.toMatchObject({
      code: 'E_FILE_NOT_READABLE',
      message: expect.stringContaining('directory'),
    });
    await expect(openTorchFile('/dev/zero')).rejects.toMatchObject({ code: 'E_FILE_NOT_READABLE' });
  });

  it('one that was written to since', async () => {
    const path = join(directory, 'changing.pth');
    writeFileSync(path, torchZip());
    const { root } = await openTorchFile(path);
    writeFileSync(path, new Uint8Array(10));
    await expect((root as TorchTensor).read('a')).rejects.toMatchObject({
      code: 'E_FILE_CHANGED',
      message: expect.stringContaining('tensor a'),
    });
  });

  it('holds no file handle, whether it opens or not', async () => {
    const path = join(directory, 'open.pth');
    const handles = () => process.getActiveResourcesInfo().filter((name) => name === 'FileHandle').length;
    const before = handles();
    writeFileSync(path, torchZip());
    await openTorchFile(path);
    writeFileSync(path, pickle(0xff));
    await expect(openTorchFile(path)).rejects.toBeInstanceOf(OnestepError);
    expect(handles()).toBe(before);
  });
});

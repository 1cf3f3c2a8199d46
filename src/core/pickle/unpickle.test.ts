import { describe, expect, it } from 'vitest';
import { BufferSource, describeValue, isTuple, PickledBytes, PickledDict, unpickle, type DataConstructor } from './index.js';

const load = (text: string | Uint8Array, options = {}) =>
  unpickle(new BufferSource(typeof text === 'string' ? Buffer.from(text, 'latin1') : text, 'test.pkl'), options).value;

// What Python 3 writes for the value on the left; python -c "import pickle; print(pickle.dumps(…, protocol))".
describe('what Python writes', () => {
  it.each([
    ['-5, protocol 0', 'I-5\n.', -5],
    ['True, protocol 0', 'I01\n.', true],
    ['2**65, protocol 0', 'L36893488147419103232L\n.', 2n ** 65n],
    ['-1, LONG1', '\x80\x02\x8a\x01\xff.', -1],
    ['2**40, LONG1', '\x80\x02\x8a\x06\0\0\0\0\0\x01.', 2 ** 40],
    ['0, LONG1 of no bytes', '\x80\x02\x8a\0.', 0],
    ['1.5, protocol 0', 'F1.5\n.', 1.5],
    ['-inf, protocol 0', 'F-inf\n.', -Infinity],
    ['0.1, protocol 1', 'G\x3f\xb9\x99\x99\x99\x99\x99\x9a.', 0.1],
    ['300, protocol 1', 'M\x2c\x01.', 300],
    ['-2, protocol 1', 'J\xfe\xff\xff\xff.', -2],
    ['a text of protocol 0', 'V\\u03c3\\u005c\xe9\np0\n.', '\u03c3\\\xe9'],
    ['a text of Python 2', "S'a\\n\\x41\\'\\101'\np0\n.", "a\nA'A"],
    ['a short text of Python 2', 'U\x02a\xe9.', 'a\xe9'],
    ['a list of protocol 0', '(lp0\nI1\naI2\na.', [1, 2]],
    ['a tuple of protocol 1', '(K\x01K\x02tq\0.', [1, 2]],
    ['None', 'N.', null],
    ['values that are thrown away', '(N0N1N.', null],
    ['a copy of the top', '(N2t.', [null, null]],
  ])('%s', (_, text, value) => expect(load(text)).toEqual(value));

  it('bytes of protocol 2, which are texts there, count as what they take', () => {
    const text = Buffer.alloc(2 ** 23, 'é');
    const length = Buffer.from(Uint32Array.of(text.length).buffer);
    const start = Buffer.from('\x80\x02]', 'latin1');
    const one = [Buffer.from('c_codecs\nencode\nX'), length, text, Buffer.from('X\x06\0\0\0latin1\x86Ra', 'latin1')];
    const value = load(Buffer.concat([start, ...Array.from({ length: 5 }, () => one).flat(), Buffer.from('.')])) as PickledBytes[];
    expect(value.map((bytes) => bytes.length)).toEqual(Array.from({ length: 5 }, () => 2 ** 22));
  });

  it('dicts, sets and their order', () => {
    expect(load('(dp0\nVb\np1\nI1\nsVa\np2\nI2\ns.')).toEqual(
      new Map([
        ['b', 1],
        ['a', 2],
      ]),
    );
    expect(load('\x80\x04\x8f\x94(K\x01K\x02\x90.')).toEqual(new Set([1, 2]));
    expect(load('\x80\x04(K\x01\x91\x94.')).toEqual(new Set([1]));
  });

  it('one object named twice is one object, and may hold itself', () => {
    const twice = load('\x80\x02]q\0h\0\x86.') as unknown[];
    expect(twice[0]).toBe(twice[1]);
    expect(isTuple(twice)).toBe(true);
    const self = load('\x80\x02]q\0h\0a.') as unknown[];
    expect(self[0]).toBe(self);
    expect(isTuple(self)).toBe(false);
  });

  it('an ordered dict with attributes', () => {
    const made = load('ccollections\nOrderedDict\n)RVk\nNs}Va\nI1\nsb.') as PickledDict;
    expect(made).toBeInstanceOf(PickledDict);
    expect([...made]).toEqual([['k', null]]);
    expect(made.state).toEqual(new Map([['a', 1]]));
  });
});

describe('bytes', () => {
  it('are located, not copied, and read when asked for', async () => {
    const content = new Uint8Array(1000).fill(7);
    const source = new BufferSource(Buffer.concat([Buffer.from('\x80\x03B\xe8\x03\0\0', 'latin1'), content, Buffer.from('.')]), 'test.pkl');
    let read = 0;
    const readSync = source.readSync.bind(source);
    source.readSync = (into, position) => {
      read += into.byteLength;
      readSync(into, position);
    };
    const { value, end } = unpickle(source, { windowBytes: 16 });
    expect(value).toBeInstanceOf(PickledBytes);
    expect(value).toMatchObject({ offset: 7, length: 1000 });
    expect(end).toBe(source.size);
    expect(read).toBeLessThan(100);
    expect(await (value as PickledBytes).read()).toEqual(content);
  });

  it('of the text protocols', async () => {
    const value = load('c_codecs\nencode\n(V\xe9a\nVlatin1\ntR.') as PickledBytes;
    expect(await value.read()).toEqual(Uint8Array.of(0xe9, 0x61));
  });
});

describe('windows', () => {
  it('of any size give the same', () => {
    const text = '(Vsome text\nI12\nF0.25\nX\x03\0\0\0abcJ\x01\0\0\0G\x3f\xf0\0\0\0\0\0\0t.';
    for (let windowBytes = 1; windowBytes < 70; windowBytes++)
      expect(load(text, { windowBytes })).toEqual(['some text', 12, 0.25, 'abc', 1, 1]);
  });
});

describe('names', () => {
  it('are asked for once, and only the list decides', () => {
    const asked: string[] = [];
    const constructors = (module: string, name: string): DataConstructor | undefined => {
      asked.push(`${module}.${name}`);
      return module === 'ours' ? { call: (args) => args.length } : undefined;
    };
    expect(load('(cours\nF\n(NNtRcours\nF\n)Rt.', { constructors })).toEqual([2, 0]);
    expect(asked).toEqual(['ours.F']);
    expect(() => load('ctheirs\nF\n.', { constructors })).toThrow(
      expect.objectContaining({
        name: 'FileError',
        code: 'E_PICKLE_GLOBAL',
        message: expect.stringMatching(/^test\.pkl: at byte 0: .*theirs\.F.*\nhelp: /s),
      }),
    );
  });
});

describe('numpy', () => {
  const scalar = (code: string, order: string, data: string) =>
    `cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(V${code}\nI00\nI01\ntR(I3\nV${order}\nNNNI-1\nI-1\nI0\ntbC${String.fromCharCode(data.length)}${data}tR.`;
  it.each([
    ['f8', '<', '\0\0\0\0\0\0\xf8\x3f', 1.5],
    ['f4', '>', '\x3f\xc0\0\0', 1.5],
    ['i8', '<', '\xfe\xff\xff\xff\xff\xff\xff\xff', -2],
    ['u8', '<', '\xff\xff\xff\xff\xff\xff\xff\xff', 2n ** 64n - 1n],
    ['i2', '>', '\x01\x02', 258],
    ['u1', '|', '\xff', 255],
    ['b1', '|', '\x01', true],
  ])('a scalar of %s%s', (code, order, data, value) => expect(load(scalar(code, order, data))).toEqual(value));

  it('scalars of other types and sizes are refused', () => {
    for (const [code, data] of [
      ['O8', '\0'],
      ['f8', '\0'],
      ['U4', 'abcd'],
    ] as const)
      expect(() => load(scalar(code, '<', data))).toThrow(expect.objectContaining({ code: 'E_FILE_FORMAT' }));
  });
});

it('values are described in a few words, however deep they are', () => {
  const deep: unknown[] = [];
  let inner = deep;
  for (let i = 0; i < 1e5; i++) inner.push((inner = []));
  expect([deep, new Map(), null, 3n, 'x'.repeat(99), '\x9b'].map(describeValue)).toEqual([
    'a list of 1',
    'a dict of 0',
    'None',
    '3',
    'a text of 99 characters',
    '"\\u009b"',
  ]);
});

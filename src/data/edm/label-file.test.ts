import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NameRecords } from '../encoded/name-records.js';
import { readLabels } from './label-file.js';
import { matchLabels, NO_LABEL } from './match-labels.js';

/** The text in chunks of `size` bytes. */
function chunks(text: string, size = 1 << 20): Uint8Array[] {
  const bytes = Buffer.from(text);
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, k) => bytes.subarray(k * size, (k + 1) * size));
}

const read = (text: string, size?: number, invalid: [string, string][] = []) => {
  const pairs: [string, number][] = [];
  const found = readLabels(
    chunks(text, size),
    'dataset.json',
    (bytes, start, end, label) => pairs.push([Buffer.from(bytes.subarray(start, end)).toString(), label]),
    (name, label) => invalid.push([name, label]),
  );
  return found ? pairs : undefined;
};

describe('readLabels', () => {
  it('reads what JSON.parse reads, in chunks of any size', () => {
    const pairs = fc.array(
      fc.tuple(
        fc.string({ unit: 'binary' }).filter((name) => !name.includes('\\')),
        fc.nat(1_048_575),
      ),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(pairs, fc.integer({ min: 1, max: 40 }), fc.boolean(), fc.jsonValue(), (labels, size, spaced, other) => {
        const text = JSON.stringify({ other, labels, more: { other } }, undefined, spaced ? 1 : undefined);
        expect(read(text, size)).toEqual(JSON.parse(JSON.stringify(labels)));
      }),
      { numRuns: 300 },
    );
  });

  it('reads what Python writes: a space after commas, escapes for other letters, backslashes as slashes', () => {
    expect(read('{"labels": [["a/\\u00e4.png", 6], ["b\\\\c.png", 0], ["\\ud83d\\ude00", 3.0]]}')).toEqual([
      ['a/ä.png', 6],
      ['b/c.png', 0],
      ['😀', 3],
    ]);
  });

  it('tells no labels from an empty list', () => {
    expect(read('{"labels": null}')).toBeUndefined();
    expect(read('{}')).toBeUndefined();
    expect(read(' { "labels" : [ ] } \n')).toEqual([]);
  });

  it('tells of labels that are no class indices, and reads on', () => {
    const labels = ['0.5', '-1', '1048576', '1e99', '"6"', '"\\u00e4"', 'null', 'true'];
    const text = `{"labels": [["first", 1], ${labels.map((label, k) => `["${k}", ${label}]`).join(', ')}, ["last", 2]]}`;
    for (const size of [1, 1000]) {
      const invalid: [string, string][] = [];
      expect(read(text, size, invalid)).toEqual([
        ['first', 1],
        ['last', 2],
      ]);
      expect(invalid).toEqual(labels.map((label, k) => [String(k), label === '"\\u00e4"' ? '"ä"' : label]));
    }
  });

  it.each([
    ['{"labels": [["a", [0, 1]]]}', 'a: expected a class index, found a list: labels that are vectors are not read'],
    ['{"labels": [["a", {}]]}', 'a: expected a class index, found an object'],
    ['{"labels": {"a": 1}}', 'expected labels as a list'],
    ['{"labels": "none"}', 'expected labels as a list'],
    ['{"labels": true}', 'expected labels as a list'],
    ['{"labels": [["a", 01]]}', 'expected a value of JSON'],
    ['{"labels": [["a", 1], ]}', 'expected [, found "]"'],
    ['{"labels": [["a" 1]]}', 'expected ,, found "1"'],
    ['{"labels": [["a", 1]]', 'expected ,, found the end'],
    ['{"labels": [["a", 1', 'expected ], found the end'],
    ['{"labels": [["a\\q", 1]]}', 'expected an escape of JSON'],
    ['[]', 'expected {, found "["'],
    ['', 'expected {, found the end'],
    ['{} x', 'expected the end of the file'],
    [`{"a": ${'['.repeat(200)}`, 'expected at most 100 levels'],
  ])('refuses %s', (text, problem) => {
    const error = { code: 'E_FILE_FORMAT', message: expect.stringContaining(problem) as string };
    expect(() => read(text)).toThrow(expect.objectContaining(error) as Error);
    expect(() => read(text, 1)).toThrow(expect.objectContaining(error) as Error);
    expect(() => read(text)).toThrow(/^dataset\.json: near byte \d+: /);
  });
});

describe('matchLabels', () => {
  it('finds labels by name, whatever their order; the last of two; none for a name that is absent', () => {
    const file = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c/d', 'e', 'f', 'other'), fc.nat(9)), { maxLength: 12 });
    fc.assert(
      fc.property(fc.uniqueArray(fc.constantFrom('a', 'b', 'c/d', 'e', 'f')), file, (names, labels) => {
        const found = matchLabels(NameRecords.of(names), chunks(JSON.stringify({ labels })), 'dataset.json', 'stop');
        const expected = new Map(labels);
        expect(Array.from(found!)).toEqual(names.map((name) => expected.get(name) ?? NO_LABEL));
      }),
      { numRuns: 300 },
    );
  });

  it('takes a backslash in a name for a slash, and no labels for none', () => {
    expect(matchLabels(NameRecords.of(['a', 'b\\c']), chunks('{"labels": [["b/c", 1], ["a", 2]]}'), '', 'stop')).toEqual(
      Uint32Array.of(2, 1),
    );
    expect(matchLabels(NameRecords.of(['a']), chunks('{"labels": null}'), '', 'stop')).toBeUndefined();
  });

  it('stop: a label that is no class index is an error with its name; skip: its image has none', () => {
    const match = (onInvalid: 'stop' | 'skip') =>
      matchLabels(NameRecords.of(['a', 'b', 'c']), chunks('{"labels": [["a", 1], ["b", -1], ["c", null], ["d", 0.5]]}'), 'set', onInvalid);
    expect(() => match('stop')).toThrow(
      expect.objectContaining({
        code: 'E_IMAGE_LABEL',
        message: expect.stringMatching(/^set: b: expected a class index of 0 to 1048575, found -1\nhelp: /) as string,
      }) as Error,
    );
    expect(match('skip')).toEqual(Uint32Array.of(1, NO_LABEL, NO_LABEL));
  });
});

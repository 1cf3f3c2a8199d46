import { describe, expect, it } from 'vitest';
import { NameRecords } from '../encoded/name-records.js';
import { sortNames } from '../encoded/sort-names.js';
import { matchLabels, NO_LABEL } from './match-labels.js';
import { NameTable } from './name-table.js';

const nameOf = (k: number) => `${String(k % 97).padStart(3, '0')}/${k}.png`;
const count = 4999; // a prime: every step visits every number
const shuffled = (step: number) => Array.from({ length: count }, (_, k) => (k * step) % count);
/** Names that lie in the buffer in one order and are sorted in another. */
const records = sortNames(NameRecords.of(shuffled(1237).map(nameOf)));
const sorted = Array.from(records.records.keys(), (k) => records.name(k));

describe('NameTable', () => {
  it.each([
    ['the order of names', () => sorted],
    ['the order of the buffer', () => shuffled(1237).map(nameOf)],
    ['neither order', () => shuffled(421).map(nameOf)],
  ])('finds every name asked for in %s, and none that is absent', (_kind, asked) => {
    const table = new NameTable(records);
    const find = (name: string) => table.find(Buffer.from(`--${name}--`), 2, 2 + Buffer.from(name).length);
    expect(asked().map(find)).toEqual(asked().map((name) => sorted.indexOf(name)));
    expect(asked().map((name) => find(`${name}x`))).toEqual(asked().map(() => -1));
    expect(find('')).toBe(-1);
  });
});

describe('matchLabels', () => {
  it.each([
    ['the order of names', [...sorted]],
    ['the order of the buffer', shuffled(1237).map(nameOf)],
    ['neither order', shuffled(421).map(nameOf)],
    ['the order of names with others in between', sorted.flatMap((name, k) => (k % 3 === 0 ? [`other${k}`, name] : [name]))],
    ['the order of names from the middle on', [...sorted.slice(2000), ...sorted.slice(0, 1999)]],
  ])('finds labels listed in %s', (_kind, listed) => {
    const labels = new Map(listed.map((name, k) => [name, (k * 7) % 1000]));
    const found = matchLabels(records, [Buffer.from(JSON.stringify({ labels: [...labels] }))], 'dataset.json', 'stop');
    expect(Array.from(found!)).toEqual(sorted.map((name) => labels.get(name) ?? NO_LABEL));
  });
});

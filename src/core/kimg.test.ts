import { expect, it } from 'vitest';
import { kimgInFileName } from './kimg.js';

it('kimgInFileName sorts as the numbers do', () => {
  const names = [0, 64, 1000, 12_000, 12_800, 5_000_000].map((images) => `samples-${kimgInFileName(images)}.png`);
  expect(names[0]).toBe('samples-000000.png');
  expect(names[4]).toBe('samples-000012.8.png');
  const keys = [0, 64, 1000, 12_000, 12_800, 5_000_000].map(kimgInFileName);
  expect([...keys].sort()).toEqual(keys);
});

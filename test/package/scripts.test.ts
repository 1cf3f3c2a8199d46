/** The README's commands set the engine up themselves: npm runs no `pre…` script where `.npmrc` turns install scripts off. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };

describe('the scripts of package.json', () => {
  it.each(['quickstart', 'test'])('%s makes the native engine work first', (name) => {
    expect(scripts[name]).toMatch(/^tsx src\/cli\.ts setup && /);
  });

  it('leave nothing to scripts that npm passes over', () => {
    expect(read('.npmrc')).toContain('ignore-scripts=true');
    expect(Object.keys(scripts).filter((name) => /^(pre|post)/.test(name))).toEqual([]);
  });
});

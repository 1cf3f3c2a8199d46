import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { commentBlocks, isSkipped, markdownBlocks, read, typecheck } from './code-blocks.js';
import { list, REPOSITORY } from './sources.js';

const documents = [
  ...readdirSync(REPOSITORY).filter((name) => name.endsWith('.md')),
  ...['docs', 'examples', 'bench'].flatMap((folder) => list(folder, '.md')).filter((path) => !path.startsWith('docs/api/')),
];

const inTheRepository = [
  ...documents.flatMap((path) => markdownBlocks(path, read(path))),
  ...list('src', '.ts').flatMap((path) => commentBlocks(path, read(path))),
].filter((block) => !isSkipped(block));

const FIXTURE = `
A fragment, line 4 of which is wrong:
\`\`\`ts
new Ema({ halfLife: 1 }).updated(images);
\`\`\`
\`\`\`sh
not code
\`\`\`
- in a list
  \`\`\`ts
  import { Ema } from 'onestep';
  new Ema(settings); // line 12
  const Adam = 1;
  \`\`\`
A name that onestep exports, meant otherwise:
\`\`\`ts
const Adam = 1;
Adam.toFixed();
await undeclared.thing;
\`\`\`
\`\`\`ts
run.events$.subscribe(…);
// …
\`\`\`
`;

const inTheFixture = markdownBlocks('fixture.md', FIXTURE).filter((block) => !isSkipped(block));

// The compiler takes its seconds once.
const problems = typecheck([...inTheRepository, ...inTheFixture]);

describe('code blocks', () => {
  it('of documents and doc comments compile', () => {
    expect(inTheRepository.length).toBeGreaterThan(5);
    expect(problems.filter((problem) => !problem.startsWith('fixture.md'))).toEqual([]);
  });
});

describe('the check of code blocks itself', () => {
  it('finds wrong fragments and programs, and says where', () => {
    expect(problems.filter((problem) => problem.startsWith('fixture.md'))).toEqual([
      expect.stringMatching(/^fixture\.md:4: .*'updated'/),
      expect.stringMatching(/^fixture\.md:12: .*'settings'/),
    ]);
  });

  it('reads examples of doc comments with and without a fence', () => {
    const comments = '/**\n * Says.\n *\n * @example\n * const a = 1;\n *\n * a;\n */\n/**\n * ```ts\n * b;\n * ```\n */';
    expect(commentBlocks('a.ts', comments)).toEqual([
      { file: 'a.ts', line: 5, code: 'const a = 1;\n\na;' },
      { file: 'a.ts', line: 11, code: 'b;' },
    ]);
  });
});

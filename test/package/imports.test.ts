import { posix } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { parse, productionSources } from './sources.js';

interface Import {
  /** Relative to the repository where the specifier is relative, else the specifier. */
  to: string;
  /** Gone when the program runs. */
  typeOnly: boolean;
}

function isTypeOnly(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) return node.isTypeOnly;
  const clause = node.importClause;
  if (clause === undefined) return false;
  if (clause.isTypeOnly) return true;
  const named = clause.namedBindings;
  return (
    clause.name === undefined && named !== undefined && ts.isNamedImports(named) && named.elements.every((element) => element.isTypeOnly)
  );
}

function importsOf(file: ts.SourceFile): Import[] {
  const found: Import[] = [];
  const add = (specifier: string, typeOnly: boolean) => {
    const to = specifier.startsWith('.') ? posix.join(posix.dirname(file.fileName), specifier).replace(/\.js$/, '.ts') : specifier;
    found.push({ to, typeOnly });
  };
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier !== undefined) {
      add((node.moduleSpecifier as ts.StringLiteral).text, isTypeOnly(node));
    } else if (
      ts.isCallExpression(node) &&
      node.expression.kind === ts.SyntaxKind.ImportKeyword &&
      ts.isStringLiteral(node.arguments[0]!)
    ) {
      add(node.arguments[0].text, false);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
      add(node.argument.literal.text, true);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

type Graph = ReadonlyMap<string, readonly string[]>;

/** One cycle, such as `['a', 'b', 'a']`; undefined where there is none. */
function findCycle(graph: Graph): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const walk = (node: string): string[] | undefined => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node];
    if (done.has(node)) return undefined;
    path.push(node);
    for (const next of graph.get(node) ?? []) {
      const cycle = walk(next);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    done.add(node);
    return undefined;
  };
  for (const node of graph.keys()) {
    const cycle = walk(node);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

const graphOf = (files: readonly ts.SourceFile[]): Graph =>
  new Map(
    files.map((file) => [
      file.fileName,
      importsOf(file)
        .filter(({ typeOnly }) => !typeOnly)
        .map(({ to }) => to),
    ]),
  );

const room = (path: string) => /^src\/([^/]+)\//.exec(path)?.[1];

describe('imports', () => {
  const files = productionSources();

  it('have no cycles', () => {
    expect(files.length).toBeGreaterThan(100);
    expect(findCycle(graphOf(files))?.join(' -> ')).toBeUndefined();
  });

  it('of core stay in core, types too', () => {
    const strays = files
      .filter(({ fileName }) => room(fileName) === 'core')
      .flatMap((file) => importsOf(file).map(({ to }) => ({ from: file.fileName, to })))
      .filter(({ to }) => (to.startsWith('src/') && room(to) !== 'core') || to === 'onestep' || to.startsWith('onestep/'));
    expect(strays).toEqual([]);
  });

  it('name files that exist', () => {
    const known = new Set(files.map(({ fileName }) => fileName));
    const missing = files.flatMap((file) =>
      importsOf(file)
        .filter(({ to }) => to.startsWith('src/') && !known.has(to))
        .map(({ to }) => `${file.fileName}: ${to}`),
    );
    expect(missing).toEqual([]);
  });
});

describe('the check of imports itself', () => {
  const cycleOf = (sources: Record<string, string>) => findCycle(graphOf(Object.entries(sources).map(([path, text]) => parse(path, text))));

  it('finds a cycle through an export and a dynamic import', () => {
    const cycle = cycleOf({
      'src/a.ts': "import { b } from './b.js';",
      'src/b.ts': "export * from './c.js';",
      'src/c.ts': "const a = await import('./a.js');",
    });
    expect(cycle).toEqual(['src/a.ts', 'src/b.ts', 'src/c.ts', 'src/a.ts']);
  });

  it('lets types refer to each other', () => {
    expect(cycleOf({ 'src/a.ts': "import type { B } from './b.js';", 'src/b.ts': "import { type A } from './a.js';" })).toBeUndefined();
    expect(cycleOf({ 'src/a.ts': "import { type B, b } from './b.js';", 'src/b.ts': "import { a } from './a.js';" })).toBeDefined();
  });

  it('sees the same file from two sides without calling it a cycle', () => {
    expect(cycleOf({ 'a.ts': "import './b.js'; import './c.js';", 'b.ts': "import './c.js';", 'c.ts': '' })).toBeUndefined();
  });
});

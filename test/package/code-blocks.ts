/**
 * Code blocks of documents and doc comments, and what the compiler says of them.
 *
 * A block with imports is a program: every name must come from somewhere. A block without is a fragment: what onestep
 * exports is in scope, and `tf` and `z`; a name that nobody declares is `any`.
 * A line `// …` marks a block that is not meant to compile.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { REPOSITORY } from './sources.js';

export interface CodeBlock {
  /** Relative to the repository. */
  file: string;
  /** Of the first line of code, from 1. */
  line: number;
  code: string;
}

/** The blocks of a markdown text that are marked `ts`, indented ones too. */
export function markdownBlocks(file: string, text: string, firstLine = 1): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let open: { fence: string; line: number; lines: string[]; wanted: boolean; indent: number } | undefined;
  text.split('\n').forEach((line, index) => {
    if (open === undefined) {
      const start = /^(\s*)(`{3,})\s*(\S*)/.exec(line);
      if (start === null) return;
      const [, indent = '', fence = '', language = ''] = start;
      const wanted = /^(ts|typescript)$/.test(language);
      open = { fence, line: firstLine + index + 1, lines: [], wanted, indent: indent.length };
    } else if (line.trim().startsWith(open.fence)) {
      if (open.wanted) blocks.push({ file, line: open.line, code: open.lines.join('\n') });
      open = undefined;
    } else {
      open.lines.push(line.slice(Math.min(open.indent, /^\s*/.exec(line)![0].length)));
    }
  });
  return blocks;
}

/** The blocks of a TypeScript file's doc comments: marked `ts`, or an `@example` without a fence, which typedoc takes for code. */
export function commentBlocks(file: string, text: string): CodeBlock[] {
  return [...text.matchAll(/\/\*\*[\s\S]*?\*\//g)].flatMap((comment) => {
    const line = text.slice(0, comment.index).split('\n').length;
    const lines = comment[0]
      .replace(/^\/\*\*/, '')
      .replace(/\*\/$/, '')
      .split('\n')
      .map((row) => row.replace(/^\s*\* ?/, ''));
    const start = lines.findIndex((row) => row.trim() === '@example');
    if (start >= 0) {
      const length = lines.slice(start + 1).findIndex((row) => row.startsWith('@'));
      const example = lines.slice(start + 1, length < 0 ? undefined : start + 1 + length);
      if (!example.some((row) => row.includes('```'))) return [{ file, line: line + start + 1, code: example.join('\n').trimEnd() }];
    }
    return markdownBlocks(file, lines.join('\n'), line);
  });
}

export const isSkipped = ({ code }: CodeBlock): boolean => /^\s*\/\/ …\s*$/m.test(code);

const CANNOT_FIND_NAME = [2304, 2503, 2552, 18004];

/** Problems as `file:line: message`; empty where every block compiles. */
export function typecheck(blocks: readonly CodeBlock[]): string[] {
  const config = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(REPOSITORY, 'tsconfig.json'), (path) => ts.sys.readFile(path)).config,
    ts.sys,
    REPOSITORY,
  );
  const options: ts.CompilerOptions = { ...config.options, verbatimModuleSyntax: false, isolatedModules: false };
  const host = ts.createCompilerHost(options);
  const virtual = new Map<string, string>();
  const parsed = new Map<string, ts.SourceFile>();
  const getSourceFile = host.getSourceFile.bind(host);
  host.fileExists = (path) => virtual.has(path) || ts.sys.fileExists(path);
  host.readFile = (path) => virtual.get(path) ?? ts.sys.readFile(path);
  host.getSourceFile = (path, language, ...rest) => {
    const text = virtual.get(path);
    if (text !== undefined) return ts.createSourceFile(path, text, language, true);
    if (!parsed.has(path)) {
      const file = getSourceFile(path, language, ...rest);
      if (file !== undefined) parsed.set(path, file);
    }
    return parsed.get(path);
  };

  const door = join(REPOSITORY, 'src/index.ts');
  const own = (block: CodeBlock) => (block.file.startsWith('src/') ? [join(REPOSITORY, block.file)] : []);
  const first = ts.createProgram({ rootNames: [door, ...blocks.flatMap(own)], options, host });
  const exportsOf = (path: string): string[] => {
    const symbol = first.getTypeChecker().getSymbolAtLocation(first.getSourceFile(path)!);
    return symbol === undefined
      ? []
      : first
          .getTypeChecker()
          .getExportsOfModule(symbol)
          .map(({ name }) => name);
  };

  /** Imports in one line of what a fragment mentions; its own declarations, in a block, come before them. */
  const scope = (block: CodeBlock): string => {
    const taken = new Set<string>();
    const lines = [door, ...own(block)].map((from) => {
      const names = exportsOf(from).filter((name) => !taken.has(name) && new RegExp(`\\b${name}\\b`).test(block.code));
      names.forEach((name) => taken.add(name));
      return `import { ${names.join(', ')} } from ${JSON.stringify(from.replace(/\.ts$/, '.js'))};`;
    });
    return `import * as tf from '@tensorflow/tfjs-core'; import { z } from 'zod'; ${lines.join(' ')} `;
  };
  const programs = blocks.map((block, index) => {
    const path = join(REPOSITORY, `block-${index}.ts`);
    const complete = /^\s*import\b/m.test(block.code);
    virtual.set(path, complete ? `export {};\n${block.code}` : `${scope(block)}{\n${block.code.replace(/^export /gm, '')}\n}`);
    return { block, path, complete };
  });

  const program = ts.createProgram({ rootNames: [door, ...virtual.keys()], options, host, oldProgram: first });
  return programs.flatMap(({ block, path, complete }) => {
    const file = program.getSourceFile(path)!;
    return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]
      .filter(({ code }) => complete || !CANNOT_FIND_NAME.includes(code))
      .map((problem) => {
        const row = file.getLineAndCharacterOfPosition(problem.start ?? 0).line;
        return `${block.file}:${block.line + row - 1}: ${ts.flattenDiagnosticMessageText(problem.messageText, ' ')}`;
      });
  });
}

export const read = (path: string): string => readFileSync(join(REPOSITORY, path), 'utf8');

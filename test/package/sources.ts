/** The package's own sources, parsed. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));

/** Paths below `folder` of the repository with one of the endings, in POSIX form, relative to the repository. */
export function list(folder: string, ...endings: string[]): string[] {
  return readdirSync(join(REPOSITORY, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
    .map((entry) => relative(REPOSITORY, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort();
}

export const parse = (path: string, text: string): ts.SourceFile => ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true);

/** What the package is made of: `src` without its tests. */
export function productionSources(): ts.SourceFile[] {
  return list('src', '.ts')
    .filter((path) => !path.endsWith('.test.ts'))
    .map((path) => parse(path, readFileSync(join(REPOSITORY, path), 'utf8')));
}

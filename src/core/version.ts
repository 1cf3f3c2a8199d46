import { readFileSync } from 'node:fs';

/** The version of this package; from its manifest, which lies above this file in the sources and in the build alike. */
export function packageVersion(): string {
  for (let folder = new URL('.', import.meta.url); ; folder = new URL('..', folder)) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8')) as { name?: string; version?: string };
      if (name === 'onestep' && version !== undefined) return version;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    if (folder.pathname === '/' || new URL('..', folder).href === folder.href) return 'unknown';
  }
}

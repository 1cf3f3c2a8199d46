#!/usr/bin/env node
/**
 * The command line: `onestep <command>`. A new command is a file in `cli/` and a row of the table below.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Command } from './cli/command.js';
import { OnestepError } from './core/errors.js';

/** In the order in which a newcomer needs them; a command is loaded when it is called. */
const COMMANDS: Record<string, { summary: string; load: () => Promise<Command> }> = {
  setup: {
    summary: 'makes the fast engine (native TensorFlow) work',
    load: async () => (await import('./cli/setup.js')).setupCommand,
  },
  doctor: {
    summary: 'examines this machine: which engine works, and what is in the way of a faster one',
    load: async () => (await import('./cli/doctor.js')).doctorCommand,
  },
  fetch: {
    summary: 'fetches weights by name or address into the cache, and prints their path',
    load: async () => (await import('./cli/fetch.js')).fetchCommand,
  },
  convert: {
    summary: 'turns pickles, PyTorch files and diffusers folders into safetensors',
    load: async () => (await import('./cli/convert.js')).convertCommand,
  },
  dataset: {
    summary: 'makes zips of images in EDM format from any data set, and describes one',
    load: async () => (await import('./cli/dataset.js')).datasetCommand,
  },
  preset: {
    summary: 'what a recipe of the paper would do and need: parameters, updates, memory',
    load: async () => (await import('./cli/preset.js')).presetCommand,
  },
  evaluate: {
    summary: 'scores a student, a teacher or a set of images: FID and its kin, in figures and on a page',
    load: async () => (await import('./cli/evaluate.js')).evaluateCommand,
  },
  reference: {
    summary: 'makes the reference that images are scored against from a set of images',
    load: async () => (await import('./cli/reference.js')).referenceCommand,
  },
  parity: {
    summary: 'compares networks, losses and metrics with golden vectors in a directory',
    load: async () => (await import('./cli/parity.js')).parityCommand,
  },
};

/** What the shell expects where a program was called wrongly. */
const USAGE = 2;

function overview(): string {
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(9)} ${summary}`);
  return `usage: onestep <command> [options]\n\n${lines.join('\n')}\n\n  onestep <command> --help   says more\n  onestep --version`;
}

function wrongUsage(message: string, help: string): number {
  console.error(`onestep: ${message}\nhelp: ${help}`);
  return USAGE;
}

async function main([name, ...args]: string[]): Promise<number> {
  if (name === undefined) {
    console.error(overview());
    return USAGE;
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    console.log(overview());
    return 0;
  }
  if (name === '--version' || name === '-v') {
    const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
    console.log(manifest.version);
    return 0;
  }
  const found = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (found === undefined) {
    const what = name.startsWith('-') ? 'option' : 'command';
    return wrongUsage(`unknown ${what} '${name}'`, `the commands are ${Object.keys(COMMANDS).join(', ')}; onestep --help`);
  }

  const command = await found.load();
  const wanted = command.positionals ?? [];
  let values: Record<string, unknown>;
  let positionals: string[];
  try {
    const options = { ...command.options, help: { type: 'boolean', short: 'h' } } as const;
    ({ values, positionals } = parseArgs({ args, options, strict: true, allowPositionals: wanted.length > 0 }));
  } catch (error) {
    return wrongUsage(`${name}: ${(error as Error).message.split('. ')[0]}`, `onestep ${name} --help`);
  }
  if (values['help'] === true) {
    console.log(command.help);
    return 0;
  }
  const missing = wanted.slice(positionals.length).filter((positional) => !positional.startsWith('['));
  if (missing.length > 0) return wrongUsage(`${name}: expected ${missing.join(' and ')}`, `onestep ${name} --help`);
  if (positionals.length > wanted.length)
    return wrongUsage(`${name}: Unexpected argument '${positionals[wanted.length]}'`, `onestep ${name} --help`);
  return command.run(values, positionals);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof OnestepError)) throw error;
  console.error(`onestep: ${error.code}: ${error.message}`);
  process.exitCode = 1;
}

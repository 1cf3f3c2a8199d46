#!/usr/bin/env node
/**
 * The command line: `onestep <command>`. A new command is a file in `cli/` and a row of the table below.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Command } from './cli/command.js';
import { OnestepError } from './core/errors.js';

const COMMANDS: Record<string, () => Promise<Command>> = {
  convert: async () => (await import('./cli/convert.js')).convertCommand,
  doctor: async () => (await import('./cli/doctor.js')).doctorCommand,
  fetch: async () => (await import('./cli/fetch.js')).fetchCommand,
  preset: async () => (await import('./cli/preset.js')).presetCommand,
  setup: async () => (await import('./cli/setup.js')).setupCommand,
  parity: async () => (await import('./cli/parity.js')).parityCommand,
};

/** What the shell expects where a program was called wrongly. */
const USAGE = 2;

async function overview(): Promise<string> {
  const lines = await Promise.all(Object.entries(COMMANDS).map(async ([name, load]) => `  ${name.padEnd(8)} ${(await load()).summary}`));
  return `usage: onestep <command> [options]\n\n${lines.join('\n')}\n\n  onestep <command> --help   says more\n  onestep --version`;
}

function wrongUsage(message: string, help: string): number {
  console.error(`onestep: ${message}\nhelp: ${help}`);
  return USAGE;
}

async function main([name, ...args]: string[]): Promise<number> {
  if (name === undefined) {
    console.error(await overview());
    return USAGE;
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    console.log(await overview());
    return 0;
  }
  if (name === '--version' || name === '-v') {
    const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
    console.log(manifest.version);
    return 0;
  }
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load === undefined) {
    const what = name.startsWith('-') ? 'option' : 'command';
    return wrongUsage(`unknown ${what} '${name}'`, `the commands are ${Object.keys(COMMANDS).join(', ')}; onestep --help`);
  }

  const command = await load();
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
  console.error(`onestep: ${error.message}`);
  process.exitCode = 1;
}

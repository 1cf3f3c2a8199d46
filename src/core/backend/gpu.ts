/**
 * Which GPUs the machine has, whether or not an engine uses them.
 */
import { existsSync, readdirSync } from 'node:fs';
import { run, succeeded } from './process.js';

/** Names by `nvidia-smi`; empty where there is no driver. */
export async function gpuNames(): Promise<string[]> {
  const result = await run('nvidia-smi', ['--query-gpu=name', '--format=csv,noheader'], { timeout: 20_000 });
  return succeeded(result)
    ? result.stdout
        .split('\n')
        .map((line) => line.trim())
        .filter(Boolean)
    : [];
}

/** Device files of NVIDIA GPUs, such as `/dev/nvidia0`; under WSL `/dev/dxg`. */
export function gpuDevices(): string[] {
  if (!existsSync('/dev')) return [];
  return readdirSync('/dev')
    .filter((name) => /^(nvidia\d+|dxg)$/.test(name))
    .map((name) => `/dev/${name}`);
}

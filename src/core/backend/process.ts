/**
 * Child processes, without a shell and without blocking.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

export interface RunOptions {
  cwd?: string;
  /** undefined: that of this process. */
  env?: NodeJS.ProcessEnv;
  /** Milliseconds after which the child is killed; undefined: never. */
  timeout?: number;
  signal?: AbortSignal;
}

export interface RunResult {
  /** undefined where the child was killed by a signal or never started. */
  code: number | undefined;
  killedBy: NodeJS.Signals | undefined;
  timedOut: boolean;
  /** Such as ENOENT where there is no such program. */
  startError: string | undefined;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end; never rejects: what went wrong is in the result. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return new Promise((resolve) => {
    const result: RunResult = { code: undefined, killedBy: undefined, timedOut: false, startError: undefined, stdout: '', stderr: '' };
    let child: ChildProcessByStdio<null, Readable, Readable>;
    try {
      child = spawn(command, args, {
        cwd: options.cwd,
        env: options.env ?? process.env,
        stdio: ['ignore', 'pipe', 'pipe'],
        windowsHide: true,
      });
    } catch (error) {
      resolve({ ...result, startError: (error as NodeJS.ErrnoException).code ?? String(error) });
      return;
    }
    const kill = () => void child.kill('SIGKILL');
    const timer =
      options.timeout === undefined
        ? undefined
        : setTimeout(() => {
            result.timedOut = true;
            kill();
          }, options.timeout);
    options.signal?.addEventListener('abort', kill, { once: true });
    if (options.signal?.aborted) kill();

    child.stdout.setEncoding('utf8').on('data', (text: string) => (result.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (result.stderr += text));
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', kill);
      resolve(result);
    };
    child.on('error', (error: NodeJS.ErrnoException) => {
      result.startError = error.code ?? error.message;
      end();
    });
    child.on('close', (code, signal) => {
      result.code = code ?? undefined;
      result.killedBy = signal ?? undefined;
      end();
    });
  });
}

/** True where the program ran and ended with code 0. */
export const succeeded = (result: RunResult): boolean => result.code === 0;

/** Why a program failed, in one line: the last line of what it said, or how it died. */
export function failure(result: RunResult): string {
  if (result.startError !== undefined)
    return result.startError === 'ENOENT' ? 'no such program' : `cannot be started (${result.startError})`;
  if (result.timedOut) return 'it did not answer in time';
  if (result.killedBy !== undefined) return `it died of ${result.killedBy}`;
  const lines = `${result.stdout}\n${result.stderr}`.split('\n').map((line) => line.replace(/^npm error/, '').trim());
  const named = lines.filter((line) => /error: /i.test(line));
  const telling = lines.filter((line) => /cannot|no such|not found/i.test(line));
  return ([...lines.filter(Boolean), ...telling, ...named].at(-1) ?? `exit code ${result.code}`).slice(0, 300);
}

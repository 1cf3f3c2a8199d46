/** One side of a comparison: a process that does one job when it is told to, and nothing else. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** What a process says of itself before its first run. */
export interface Introduction {
  description: string;
  /** Parameters that each network of the job trains: the same on both sides. */
  trained: number[];
  /** Peak resident memory before the job was made, in bytes. */
  idle: number;
}

interface Answer extends Partial<Introduction> {
  milliseconds?: number;
  operations?: number;
  peak?: number;
  error?: string;
}

/** A job that a side cannot do; the message is its own. */
export class CannotError extends Error {}

export interface Side extends Introduction {
  /** Milliseconds of one run. Throws {@link CannotError} where the job failed. */
  run(): Promise<number>;
  /** Floating-point operations of one run; ours alone knows them. */
  operations(): Promise<number>;
  /** Peak resident memory so far, in bytes. */
  peak(): Promise<number>;
  end(): Promise<void>;
}

/** Starts `command`, which answers a line of JSON to each line; throws with what it wrote where it cannot start. */
export async function startSide(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Side> {
  const child = spawn(command, args, { stdio: 'pipe', env: { ...process.env, ...env } });
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints = (complaints + text).slice(-4000)));
  child.stdin.on('error', () => undefined);
  const ended = new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(`exit code ${code}, signal ${signal}`));
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const answer = async (): Promise<Answer> => {
    const line = await lines.next();
    if (line.done) throw new Error(`${[command, ...args].join(' ')}: ${await ended}\n${complaints}`);
    return JSON.parse(line.value) as Answer;
  };
  const ask = async (request: string) => {
    child.stdin.write(`${request}\n`);
    const said = await answer();
    if (said.error !== undefined) throw new CannotError(said.error);
    return said;
  };
  const introduction = (await answer()) as Introduction;
  return {
    ...introduction,
    run: async () => (await ask('run')).milliseconds!,
    operations: async () => (await ask('operations')).operations!,
    peak: async () => (await ask('peak')).peak!,
    end: async () => {
      child.stdin.end();
      await ended;
    },
  };
}

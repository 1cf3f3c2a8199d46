import { of, throwError } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { RunEvent } from '../core/contracts/events.js';
import { ConfigError } from '../core/errors.js';
import { consoleProgress, type ConsoleStream } from './console-progress.js';
import { ended, evaluation, file, samples, started, step, warning } from './testing.js';

async function output(events: RunEvent[], stream: Partial<ConsoleStream> = {}, options = {}): Promise<string> {
  let text = '';
  const into: ConsoleStream = { ...stream, write: (chunk) => (text += chunk) };
  await consoleProgress({ stream: into, ...options }).attach(of(...events), { runDir: undefined });
  return text;
}

describe('consoleProgress on a file', () => {
  it('prints plain lines every so many seconds of the run, the last step at the end', async () => {
    // One step takes one second.
    const steps = Array.from({ length: 95 }, (_, k) => step((k + 1) * 100));
    const lines = (await output([started(), ...steps, ended(9500, { reason: 'stopped' })])).split('\n');
    expect(lines).toEqual([
      'started on cpu: 10 kimg in batches of 100',
      'generator 2.00M parameters (0.500M frozen), discriminator 0.300M',
      '  1.0%  0.1 of 10 kimg  1m 39s left  100 images/s  generator 0.700  discriminator 1.30',
      ' 31.0%  3.1 of 10 kimg  1m 09s left  100 images/s  generator 0.700  discriminator 1.30',
      ' 61.0%  6.1 of 10 kimg  39s left  100 images/s  generator 0.700  discriminator 1.30',
      ' 91.0%  9.1 of 10 kimg  9s left  100 images/s  generator 0.700  discriminator 1.30',
      ' 95.0%  9.5 of 10 kimg  5s left  100 images/s  generator 0.700  discriminator 1.30',
      'stopped at 9.5 kimg after 1m 35s, 0.0% of it waiting for data',
      '',
    ]);
    expect(await output(steps, {}, { everySeconds: 50 })).toMatch(/^0\.1 kimg.*\n5\.1 kimg.*\n$/);
  });

  it('has a line for each event of note', async () => {
    const text = await output([
      started({ resumed: true, images: 200, runDir: 'runs/a' }),
      evaluation(300, 40),
      evaluation(400, 30),
      evaluation(500, 35),
      file(500, 'checkpoint', 'runs/a/checkpoint-1'),
      file(500, 'snapshot', 'runs/a/s.safetensors'),
      samples(500),
      warning(600, 'odd\x1b[31m'),
      { ...step(600), kind: 'paused' } as unknown as RunEvent,
      ended(700, { reason: 'failed', error: { code: 'E_RUN_X', message: 'no luck' } }),
    ]);
    expect(text.split('\n').filter((line) => !line.startsWith('generator'))).toEqual([
      'resumed at 0.2 kimg on cpu: 10 kimg in batches of 100, into runs/a',
      '0.3 kimg: frechet 40.00',
      '0.4 kimg: frechet 30.00 (lowest before: 40.00)',
      '0.5 kimg: frechet 35.00 (lowest before: 30.00)',
      '0.5 kimg: checkpoint runs/a/checkpoint-1',
      '0.5 kimg: snapshot runs/a/s.safetensors',
      '0.6 kimg: warning W_TEST: odd [31m',
      '0.6 kimg: paused',
      'failed at 0.7 kimg after 7s: E_RUN_X: no luck',
      '',
    ]);
  });

  it('tells of waiting for data only where it exceeds a hundredth', async () => {
    expect(await output([step(100, { waitShare: 0.009 })])).not.toContain('waits');
    expect(await output([step(100, { waitShare: 0.254 })])).toContain('waits for data 25%');
  });

  it('ends with the share of the whole run that was spent waiting for data', async () => {
    // 1 s, of which a tenth; then 3 s, of which a half.
    const text = await output([started(), step(100, { waitShare: 0.1 }), step(400, { waitShare: 0.5 }), ended(400)]);
    expect(text).toMatch(/completed at 0\.4 kimg after 4s, 40\.0% of it waiting for data\n$/);
    expect(await output([started(), ended(0)])).toMatch(/completed at 0 kimg after 0s\n$/);
  });
});

describe('consoleProgress on a terminal', () => {
  const tty = (columns: number) => ({ isTTY: true, columns });

  it('rewrites one line, at most ten times a second', async () => {
    const steps = Array.from({ length: 50 }, (_, k) => step(k + 1)); // 10 ms each
    const text = await output([started(), ...steps], tty(120));
    expect(text.match(/\x1b\[2K/g)).toHaveLength(5);
    expect(text.split('\n')).toHaveLength(4); // two lines at the start, the progress line, its end
  });

  it('puts events above the line and shows the line again after them', async () => {
    const text = await output([started(), step(100), evaluation(100, 9), step(101), ended(101)], tty(120));
    const shown = text.split('\n').map((line) => line.split('\x1b[2K').at(-1));
    expect(shown.slice(2)).toEqual(['0.1 kimg: frechet 9.000', 'completed at 0.101 kimg after 1s, 0.0% of it waiting for data', '']);
    expect(text.match(/0\.101 of 10 kimg/g)).toHaveLength(1);
  });

  it.each([20, 40, 60, 80, 200])('fits %i columns, what matters most first', async (columns) => {
    const text = await output([started(), step(5000, { waitShare: 0.5 })], tty(columns));
    const line = text.split('\x1b[2K').at(-1)!.trimEnd();
    expect(line.length).toBeLessThan(columns);
    expect(line).toContain('50.0%');
    expect(line.includes('discriminator')).toBe(columns === 200);
    if (columns === 200) expect(line).toContain('━'.repeat(12) + '─'.repeat(12));
  });

  it('ends its line when the run breaks', async () => {
    let text = '';
    const stream: ConsoleStream = { isTTY: true, columns: 80, write: (chunk) => (text += chunk) };
    const sink = consoleProgress({ stream });
    await sink.attach(of(step(100)), { runDir: undefined });
    expect(text.endsWith('\n')).toBe(true);
    await expect(
      sink.attach(
        throwError(() => new Error('over')),
        { runDir: undefined },
      ),
    ).rejects.toThrow('over');
  });

  it('rejects wrong options', () => {
    expect(() => consoleProgress({ everySeconds: 0 })).toThrow(ConfigError);
  });
});

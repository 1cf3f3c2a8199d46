import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Subject, of, throwError } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { RunEvent } from '../core/contracts/events.js';
import { FileError } from '../core/errors.js';
import { jsonlLog, readEvents } from './jsonl-log.js';
import { ended, evaluation, samples, started, step, temporaryDirectory } from './testing.js';

describe('jsonlLog', () => {
  it('writes one JSON object per event, samples without pixels, numbers that are not finite as strings', async () => {
    const runDir = join(await temporaryDirectory(), 'runs', 'new');
    const nan = step(200, { losses: { generator: NaN, discriminator: -Infinity } });
    await jsonlLog().attach(of<RunEvent[]>(started(), step(100), nan, samples(300), ended(300)), { runDir });
    const lines = (await readFile(join(runDir, 'events.jsonl'), 'utf8')).split('\n');
    expect(lines.pop()).toBe('');
    const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.map((event) => event['kind'])).toEqual(['started', 'step', 'step', 'samples', 'ended']);
    expect(events[1]).toEqual(step(100));
    expect(events[2]!['losses']).toEqual({ generator: 'NaN', discriminator: '-Infinity' });
    expect(events[3]).toMatchObject({ shape: [4, 8, 8, 3], images: 300 });
    expect(events[3]).not.toHaveProperty('batch');
  });

  it('has each line in the file as soon as the event has passed', async () => {
    const runDir = await temporaryDirectory();
    const events$ = new Subject<RunEvent>();
    const attached = jsonlLog().attach(events$, { runDir });
    for (let count = 1; count <= 3; count++) {
      events$.next(step(count * 100));
      expect([...readEvents(join(runDir, 'events.jsonl'))]).toHaveLength(count);
    }
    events$.complete();
    await attached;
  });

  it.each([
    ['half a line', '{"kind":"step","los', 2],
    ['nothing but half a line longer than a block', undefined, 1],
    ['no line feed after a whole line', '{"kind":"step"}', 2],
  ])('goes on after a killed run that left %s', async (_, rest, expected) => {
    const runDir = await temporaryDirectory();
    const path = join(runDir, 'events.jsonl');
    if (rest === undefined) await writeFile(path, '{"kind":"' + 'x'.repeat(200_000));
    else {
      await jsonlLog().attach(of(step(100)), { runDir });
      await appendFile(path, rest);
    }
    await jsonlLog().attach(of(evaluation(200, 5)), { runDir });
    const lines = (await readFile(path, 'utf8')).trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as RunEvent).kind)).toEqual(expected === 2 ? ['step', 'evaluation'] : ['evaluation']);
  });

  it('does nothing without a directory; names the file that cannot be written; passes errors of the stream', async () => {
    await jsonlLog().attach(of(step(100)), { runDir: undefined });
    const runDir = await temporaryDirectory();
    await writeFile(join(runDir, 'file'), '');
    await expect(jsonlLog().attach(of(step(100)), { runDir: join(runDir, 'file') })).rejects.toThrow(FileError);
    await expect(
      jsonlLog().attach(
        throwError(() => new Error('over')),
        { runDir },
      ),
    ).rejects.toThrow('over');
  });
});

describe('readEvents', () => {
  it('reads across blocks, skips what is not an event, and has nothing from a missing file', async () => {
    const path = join(await temporaryDirectory(), 'events.jsonl');
    expect([...readEvents(path)]).toEqual([]);
    const long = JSON.stringify({ kind: 'warning', message: 'é'.repeat(200_000) });
    await writeFile(path, `${long}\nnot json\n42\n\n{"no":"kind"}\n${long}\n{"kind":"half`);
    expect([...readEvents(path)].map((event) => (event.kind === 'warning' ? event.message.length : 0))).toEqual([200_000, 200_000]);
  });
});

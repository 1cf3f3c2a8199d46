import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EMPTY, from } from 'rxjs';
import { expect, it } from 'vitest';
import type { RunEvent } from '../core/contracts/events.js';
import { charts, runCharts } from './charts.js';
import { jsonlLog } from './jsonl-log.js';
import { RunHistory } from './run-history.js';
import { ended, evaluation, started, step, temporaryDirectory } from './testing.js';

const run: RunEvent[] = [
  started(),
  ...Array.from({ length: 100 }, (_, k) => step(k * 100, { losses: { generator: 1, discriminator: 2, r1: 2 ** -k } })),
  evaluation(5000, 20),
  evaluation(9900, 10),
  ended(9900),
];

it('has a chart per metric, one of the losses and one of the penalties', () => {
  const history = new RunHistory();
  expect(runCharts(history)).toEqual([]);
  run.forEach((event) => history.add(event));
  const [frechet, losses, penalties, ...rest] = runCharts(history);
  expect(rest).toEqual([]);
  expect([frechet!.name, losses!.name, penalties!.name]).toEqual(['frechet', 'losses', 'penalties']);
  expect(frechet!.svg).toContain('lowest 10.00 at 9.9 kimg');
  expect(losses!.svg).toContain('>discriminator 2.00<');
  expect(losses!.svg).not.toContain('r1');
  expect(penalties!.svg).toContain('class="raw s0"');
});

it('all losses share a chart where none is of an adversary; names become fit for files', () => {
  const history = new RunHistory();
  history.add(step(100, { losses: { denoising: 1 } }));
  history.add({ ...evaluation(100, 1), metrics: { 'a/../b c': 1 } });
  expect(runCharts(history).map(({ name }) => name)).toEqual(['a-b-c', 'losses']);
});

it('writes the charts, and with a log goes on with what earlier processes did', async () => {
  const runDir = await temporaryDirectory();
  await Promise.all([jsonlLog(), charts()].map((sink) => sink.attach(from(run), { runDir })));
  expect((await readdir(runDir)).sort()).toEqual(['events.jsonl', 'frechet.svg', 'losses.svg', 'penalties.svg']);
  await charts().attach(from([started({ resumed: true, images: 9900 }), evaluation(12_000, 5)]), { runDir });
  const svg = await readFile(join(runDir, 'frechet.svg'), 'utf8');
  expect(svg.match(/<circle/g)).toHaveLength(3);
  expect(svg).toContain('lowest 5.000 at 12 kimg');
});

it('writes nothing without events or without a directory', async () => {
  const runDir = await temporaryDirectory();
  await charts().attach(EMPTY, { runDir });
  await charts().attach(from(run), { runDir: undefined });
  expect(await readdir(runDir)).toEqual([]);
});

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Subject, from } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { RunEvent, Sink } from '../core/contracts/events.js';
import { ConfigError, FileError } from '../core/errors.js';
import { htmlReport } from './html-report.js';
import { jsonlLog } from './jsonl-log.js';
import { renderReport } from './render-report.js';
import { sampleImages } from './sample-images.js';
import { ended, evaluation, samples, started, step, temporaryDirectory, warning } from './testing.js';

const count = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].length;

describe('renderReport', () => {
  const evil = `<img src=x onerror="alert('1')">&`;

  it('escapes every text', () => {
    const html = renderReport({
      title: evil,
      subtitle: evil,
      status: 'failed',
      summary: [[evil, evil]],
      charts: [],
      images: [
        { caption: evil, png: Uint8Array.of(1) },
        { caption: evil, png: Uint8Array.of(2) },
      ],
      config: { [evil]: [evil, '</pre><script>'] },
      events: [{ time: evil, place: evil, kind: evil, text: evil }],
      eventsNote: evil,
    });
    expect(html).not.toContain('<img src=x');
    expect(html).not.toContain('<script');
    // Title twice, subtitle, tile twice, two pictures twice each, configuration twice, note, four cells.
    expect(count(html, /&lt;img src=x/g)).toBe(2 + 1 + 2 + 4 + 2 + 1 + 4);
    expect(count(html, /onerror="alert/g)).toBe(0);
  });

  it('is one page that needs nothing else, and leaves out what is empty', () => {
    const html = renderReport({ title: 'a', status: 'running', summary: [], charts: [], images: [], events: [] });
    expect(html).toMatch(/^<!doctype html>/);
    expect(html).not.toMatch(/<h2>|<link|<script|https?:\/\//);
    const full = renderReport({
      title: 'a',
      status: 'completed',
      summary: [],
      charts: ['<svg id="c"/>'],
      images: [{ caption: 'x', png: Uint8Array.of(1, 2, 3) }],
      events: [],
    });
    expect(full).toContain('<svg id="c"/>');
    expect(full).toContain('src="data:image/png;base64,AQID"');
  });
});

describe('htmlReport', () => {
  const session = (runDir: string, events: RunEvent[], sinks: Sink[] = [jsonlLog(), sampleImages(), htmlReport()]) =>
    Promise.all(sinks.map((sink) => sink.attach(from(events), { runDir })));
  const page = (runDir: string) => readFile(join(runDir, 'report.html'), 'utf8');

  it('tells of a whole run', async () => {
    const runDir = join(await temporaryDirectory(), 'my-run');
    await mkdir(runDir);
    await writeFile(join(runDir, 'config.json'), '{"batchSize":100}');
    await session(runDir, [started(), step(100), samples(100), evaluation(200, 7.5), warning(300, '<b>'), step(300), ended(300)]);
    const html = await page(runDir);
    for (const text of [
      '>my-run ',
      '>completed<',
      '0.3 of 10 kimg',
      '>7.500<',
      '&quot;batchSize&quot;: 100',
      'W_TEST: &lt;b&gt;',
      'Fréchet distance',
      '0.0% of the time',
    ]) {
      expect(html).toContain(text);
    }
    expect(count(html, /<svg/g)).toBe(2);
    expect(count(html, /data:image\/png/g)).toBe(1);
  });

  it('after a resume includes what earlier processes did, pictures from their files', async () => {
    const runDir = await temporaryDirectory();
    await session(runDir, [started(), step(100), samples(100), evaluation(100, 50), samples(900), evaluation(900, 1)]);
    await session(runDir, [started({ resumed: true, images: 500 }), step(600), samples(600), evaluation(600, 20), ended(600)]);
    const html = await page(runDir);
    expect(count(html, /data:image\/png/g)).toBe(2);
    expect(html).toContain('<figcaption>0.1 kimg');
    expect(html).not.toContain('<figcaption>0.9 kimg');
    expect(html).toContain('>20.00 at 0.6 kimg<');
    expect(html).toContain('resumed on cpu');
    expect(html).toContain('frechet 1.000'); // it did happen
  });

  it('is rewritten at evaluations and samples, and at most every minute of steps', async () => {
    const runDir = await temporaryDirectory();
    const events$ = new Subject<RunEvent>();
    const attached = htmlReport().attach(events$, { runDir });
    const settle = async () => {
      for (let k = 0; k < 200; k++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        const names = await readdir(runDir);
        if (names.includes('report.html') && names.length === 1) break;
      }
      return page(runDir);
    };
    events$.next(started());
    expect(await settle()).toContain('>running<');
    events$.next(step(100));
    expect(await settle()).not.toContain('Speed');
    events$.next(step(6100));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await settle()).toContain('6.1 of 10 kimg');
    events$.complete();
    await attached;
  });

  it('shows a bounded number of images and pictures', async () => {
    const runDir = await temporaryDirectory();
    const events = Array.from({ length: 30 }, (_, k) => samples(k * 1000, 9));
    await session(runDir, events, [htmlReport({ imagesPerGrid: 1, title: 'T' })]);
    const html = await page(runDir);
    expect(count(html, /data:image\/png/g)).toBe(12);
    expect(html).toContain('>T ');
  });

  it('does nothing without a directory; names the file it cannot write; rejects wrong options', async () => {
    await htmlReport().attach(from([ended(1)]), { runDir: undefined });
    const runDir = await temporaryDirectory();
    await mkdir(join(runDir, 'report.html'));
    await expect(htmlReport().attach(from([ended(1)]), { runDir })).rejects.toThrow(FileError);
    expect(() => htmlReport({ every: 1 } as object)).toThrow(ConfigError);
  });
});

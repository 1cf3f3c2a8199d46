/**
 * Made-up events for the tests of this room.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type {
  EndedEvent,
  EvaluationEvent,
  FileEvent,
  SamplesEvent,
  StartedEvent,
  StepEvent,
  WarningEvent,
} from '../core/contracts/events.js';

const at = (images: number, batchSize = 100) => ({ time: 1_700_000_000_000 + images * 10, step: images / batchSize, images });

export const started = (more: Partial<StartedEvent> = {}): StartedEvent => ({
  kind: 'started',
  ...at(0),
  runDir: undefined,
  backend: 'cpu',
  totalImages: 10_000,
  batchSize: 100,
  resumed: false,
  parameters: { generator: 2_000_000, frozen: 500_000, discriminator: 300_000 },
  ...more,
});

export const step = (images: number, more: Partial<StepEvent> = {}): StepEvent => ({
  kind: 'step',
  ...at(images),
  losses: { generator: 0.7, discriminator: 1.3 },
  imagesPerSecond: 100,
  elapsedSeconds: images / 100,
  remainingSeconds: (10_000 - images) / 100,
  waitShare: 0,
  ...more,
});

export const evaluation = (images: number, frechet: number): EvaluationEvent => ({
  kind: 'evaluation',
  ...at(images),
  metrics: { frechet },
});

export const samples = (images: number, count = 4, size = 8): SamplesEvent => ({
  kind: 'samples',
  ...at(images),
  batch: Uint8Array.from({ length: count * size * size * 3 }, (_, k) => (k + images) % 256),
  shape: [count, size, size, 3],
});

export const file = (images: number, kind: FileEvent['kind'], path: string): FileEvent => ({ kind, ...at(images), path });

export const warning = (images: number, message: string): WarningEvent => ({ kind: 'warning', ...at(images), code: 'W_TEST', message });

export const ended = (images: number, more: Partial<EndedEvent> = {}): EndedEvent => ({
  kind: 'ended',
  ...at(images),
  reason: 'completed',
  seconds: images / 100,
  ...more,
});

/** A directory that is removed after the test. */
export async function temporaryDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'onestep-sinks-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Throws where tags do not match; enough of a parser for SVG that we write. */
export function assertWellFormed(svg: string): void {
  const stack: string[] = [];
  const rest = svg
    .replace(/<style>[^<]*<\/style>/g, '')
    .replace(/<(\/?)([a-z]+)((?: [a-zA-Z0-9:-]+="[^"<]*")*)(\/?)>/g, (_, close: string, tag: string, __, own: string) => {
      if (close !== '') expect(stack.pop()).toBe(tag);
      else if (own === '') stack.push(tag);
      return '';
    });
  expect(stack).toEqual([]);
  expect(rest).not.toMatch(/[<>]/);
}

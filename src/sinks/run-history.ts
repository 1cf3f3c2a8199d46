import type { EndedEvent, RunEvent, StartedEvent, StepEvent } from '../core/contracts/events.js';
import { formatDuration, formatNumber } from '../core/format.js';
import { DataWait } from './data-wait.js';
import type { LoggedEvent } from './jsonl-log.js';
import { Series } from './series.js';

/** What a run did at a moment, as a line for people. */
export interface Note {
  /** Milliseconds since the epoch. */
  time: number;
  images: number;
  kind: RunEvent['kind'];
  text: string;
}

const NOTES = 200;
const NAMES = 32;
const GRIDS = 12;

/**
 * All that charts and reports tell of a run, gathered event by event in bounded memory.
 *
 * Takes the events of earlier processes too: a resumed start drops what had been done after its checkpoint, a fresh start everything.
 */
export class RunHistory {
  /** Losses over kimg. */
  readonly losses = new Map<string, Series>();
  /** Metrics over kimg. */
  readonly metrics = new Map<string, Series>();
  /** The lowest value of each metric. */
  readonly lowest = new Map<string, { value: number; images: number }>();
  readonly latest = new Map<string, number>();
  readonly notes: Note[] = [];
  /** Notes that were dropped for want of room. */
  olderNotes = 0;
  warnings = 0;
  /** The first, the last and some of the sample grids between them; `png` where this process has made it. */
  grids: { images: number; png?: Uint8Array }[] = [];
  started: StartedEvent | undefined;
  ended: EndedEvent | undefined;
  step: StepEvent | undefined;
  /** Waiting for data, earlier processes included. */
  dataWait = new DataWait();
  /** Time of the first start. */
  begin: number | undefined;
  /** Seconds of training by earlier processes. */
  private earlierSeconds = 0;

  /** Seconds of training, earlier processes included. */
  get seconds(): number {
    return this.earlierSeconds + (this.step?.elapsedSeconds ?? 0);
  }

  /** @param picture for a samples event: makes its picture. */
  add(event: RunEvent | LoggedEvent, picture?: () => Uint8Array): void {
    const kimg = event.images / 1000;
    switch (event.kind) {
      case 'started':
        this.start(event);
        break;
      case 'step':
        this.step = event;
        this.dataWait.add(event);
        for (const [name, value] of Object.entries(event.losses)) seriesOf(this.losses, name, 1024)?.add(kimg, value);
        break;
      case 'evaluation':
        for (const [name, value] of Object.entries(event.metrics)) {
          if (!Number.isFinite(value)) continue;
          seriesOf(this.metrics, name, 256)?.add(kimg, value);
          if (!this.metrics.has(name)) continue;
          this.latest.set(name, value);
          const lowest = this.lowest.get(name);
          if (lowest === undefined || value < lowest.value) this.lowest.set(name, { value, images: event.images });
        }
        this.note(
          event,
          Object.entries(event.metrics)
            .map(([name, value]) => `${name} ${typeof value === 'number' ? formatNumber(value) : String(value)}`)
            .join(', '),
        );
        break;
      case 'samples':
        this.addGrid(event.images, picture?.());
        break;
      case 'snapshot':
      case 'checkpoint':
        this.note(event, event.path);
        break;
      case 'warning':
        this.warnings++;
        this.note(event, `${event.code}: ${event.message}`);
        break;
      case 'paused':
      case 'continued':
        this.note(event, '');
        break;
      case 'ended':
        this.ended = event;
        this.note(event, event.error === undefined ? event.reason : `${event.reason}: ${event.error.code}: ${event.error.message}`);
    }
  }

  private start(event: StartedEvent): void {
    if (!event.resumed) {
      for (const map of [this.losses, this.metrics, this.lowest, this.latest]) map.clear();
      this.notes.length = this.olderNotes = this.warnings = this.earlierSeconds = 0;
      this.grids = [];
      this.begin = undefined;
      this.dataWait = new DataWait();
    } else {
      const kimg = event.images / 1000;
      for (const series of [...this.losses.values(), ...this.metrics.values()]) series.cut(kimg);
      for (const [name, { images }] of this.lowest) {
        if (images <= event.images) continue;
        const points = this.metrics.get(name)!.toArray();
        const low = points.reduce((best, point) => (point.low < best.low ? point : best), { x: 0, low: Infinity });
        if (points.length === 0) this.lowest.delete(name);
        else this.lowest.set(name, { value: low.low, images: low.x * 1000 });
      }
      for (const name of this.latest.keys()) {
        const last = this.metrics.get(name)!.toArray().at(-1);
        if (last === undefined) this.latest.delete(name);
        else this.latest.set(name, last.y);
      }
      this.grids = this.grids.filter(({ images }) => images <= event.images);
      this.earlierSeconds = this.seconds;
      this.dataWait.resume();
    }
    this.begin ??= event.time;
    this.started = event;
    this.ended = this.step = undefined;
    this.note(event, `${event.resumed ? 'resumed' : 'started'} on ${event.backend}`);
  }

  private note({ time, images, kind }: RunEvent | LoggedEvent, text: string): void {
    this.notes.push({ time, images, kind, text: text.length > 2000 ? `${text.slice(0, 2000)}…` : text });
    if (this.notes.length > NOTES) {
      this.notes.shift();
      this.olderNotes++;
    }
  }

  private addGrid(images: number, png: Uint8Array | undefined): void {
    if (this.grids.at(-1)?.images === images) this.grids.pop();
    this.grids.push({ images, ...(png === undefined ? {} : { png }) });
    if (this.grids.length <= GRIDS) return;
    // Drop the one between the two nearest neighbours, so that those kept stay evenly spread.
    let tightest = 1;
    for (let k = 2; k < this.grids.length - 1; k++) if (this.gap(k) < this.gap(tightest)) tightest = k;
    this.grids.splice(tightest, 1);
  }

  private gap(k: number): number {
    return this.grids[k + 1]!.images - this.grids[k - 1]!.images;
  }
}

/** The series of that name; a new one while there are few names, else undefined. */
function seriesOf(map: Map<string, Series>, name: string, capacity: number): Series | undefined {
  let series = map.get(name);
  if (series === undefined && map.size < NAMES) map.set(name, (series = new Series(capacity)));
  return series;
}

/** `1h 05m` of training, or nothing before the first step. */
export function trainingTime(history: RunHistory): string {
  return formatDuration(history.ended === undefined ? history.seconds : Math.max(history.seconds, history.ended.seconds));
}

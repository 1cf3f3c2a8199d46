/** A point of a chart: a mean with the lowest and highest value that it stands for. */
export interface Point {
  x: number;
  y: number;
  low?: number;
  high?: number;
}

/**
 * A curve in bounded memory: however many values are added, at most `capacity` points are kept.
 *
 * Each point is the mean, lowest and highest of neighbouring values; when the memory is full neighbours are joined two by two.
 */
export class Series {
  private readonly points: Required<Point>[] = [];
  private perPoint = 1;
  private inLast = 0;

  /** @param capacity an even number. */
  constructor(private readonly capacity = 1024) {}

  /** Adds a value; x must not fall. A value that is not finite is left out. */
  add(x: number, y: number): void {
    if (!Number.isFinite(y)) return;
    const last = this.points.at(-1);
    if (last !== undefined && this.inLast < this.perPoint) {
      this.inLast++;
      last.x += (x - last.x) / this.inLast;
      last.y += (y - last.y) / this.inLast;
      last.low = Math.min(last.low, y);
      last.high = Math.max(last.high, y);
      return;
    }
    if (this.points.length === this.capacity) this.join();
    this.points.push({ x, y, low: y, high: y });
    this.inLast = 1;
  }

  /** Drops all points after `x`, where a run went back to a checkpoint. */
  cut(x: number): void {
    while (this.points.length > 0 && this.points.at(-1)!.x > x) this.points.pop();
    this.inLast = this.perPoint;
  }

  toArray(): Required<Point>[] {
    return this.points.map((point) => ({ ...point }));
  }

  private join(): void {
    for (let k = 0; 2 * k + 1 < this.points.length; k++) {
      const [a, b] = [this.points[2 * k]!, this.points[2 * k + 1]!];
      this.points[k] = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) };
    }
    this.points.length = Math.floor(this.points.length / 2);
    this.perPoint *= 2;
  }
}

/**
 * A straight line fitted to the `window` neighbours on both sides of each point, taken at the point: inside, that is their mean;
 * at the ends, where neighbours are missing on one side, it follows the slope.
 */
export function smooth(points: readonly Point[], window: number): Point[] {
  const sums = [0];
  const moments = [0];
  points.forEach(({ y }, k) => {
    sums.push(sums[k]! + y);
    moments.push(moments[k]! + k * y);
  });
  const reach = Math.floor(window);
  return points.map(({ x }, k) => {
    const from = Math.max(0, k - reach);
    const to = Math.min(points.length - 1, k + reach);
    const count = to - from + 1;
    const centre = (from + to) / 2;
    const sum = sums[to + 1]! - sums[from]!;
    // The sum of (k - centre)² over `count` neighbours is count (count² - 1) / 12.
    const slope = count === 1 ? 0 : (moments[to + 1]! - moments[from]! - centre * sum) / ((count * (count * count - 1)) / 12);
    return { x, y: sum / count + slope * (k - centre) };
  });
}

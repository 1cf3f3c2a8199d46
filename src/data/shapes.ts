/**
 * `shapes`: a procedural image set that needs no download. Ten kinds of shape on a gradient, drawn by signed distance functions.
 */
import { z } from 'zod';
import type { DataDescription, DataSource, ImageBatch } from '../core/contracts/data.js';
import { ArgumentError } from '../core/errors.js';
import { hash, mix } from './hash.js';
import { parseOptions } from '../core/options.js';

/** The ten classes; a label is an index into this list. */
export const labelNames = ['circle', 'ring', 'square', 'triangle', 'star', 'cross', 'crescent', 'heart', 'stripes', 'hourglass'] as const;

/** The name of a class. */
export type ShapeName = (typeof labelNames)[number];

/** Schema of {@link ShapesOptions}. */
export const shapesOptions = z.strictObject({
  /** Height and width in pixels. */
  resolution: z.int().min(8).max(1024),
  /** Number of images. */
  size: z
    .int()
    .min(1)
    .max(2 ** 31)
    .default(50_000),
  /** Another seed gives another set. */
  seed: z.int().min(0).default(0),
  /** The two splits of one seed share no image. */
  split: z.enum(['train', 'evaluation']).default('train'),
  /** A subset of `labelNames`; labels then index this list. */
  classes: z
    .array(z.enum(labelNames))
    .min(1)
    .refine((names) => new Set(names).size === names.length, 'each class once')
    .default([...labelNames]),
});

/**
 * Options of `shapes`.
 *
 * @interface
 */
export type ShapesOptions = z.input<typeof shapesOptions>;

/**
 * The procedural set of ten shapes in 8-bit RGB.
 *
 * Each image has one shape of random place, size and rotation, coloured by a gradient, on a gradient of clearly different lightness.
 * Image `i` depends on seed, split, `i` and resolution alone, and shows the same scene at every resolution.
 * Its label is `i` modulo the number of classes, so that classes are balanced.
 *
 * ```ts
 * const train = shapes({ resolution: 16 });
 * const evaluation = shapes({ resolution: 16, split: 'evaluation', size: 10_000 });
 * ```
 *
 * @throws ConfigError for wrong or unknown options.
 */
export function shapes(options: ShapesOptions): DataSource {
  return new Shapes(parseOptions(shapesOptions, options, 'shapes'));
}

class Shapes implements DataSource {
  private readonly kinds: Uint8Array;
  /** For config.json. */
  readonly description: { part: string; options: unknown };

  constructor(private readonly options: z.output<typeof shapesOptions>) {
    this.kinds = Uint8Array.from(options.classes, (name) => labelNames.indexOf(name));
    this.description = { part: 'shapes', options };
  }

  async open(): Promise<DataDescription> {
    const { resolution, size, classes, split } = this.options;
    const name = `shapes-${resolution}${split === 'train' ? '' : `-${split}`}`;
    return { name, resolution, channels: 3, classes: classes.length, size };
  }

  async read(indices: Uint32Array, signal?: AbortSignal): Promise<ImageBatch> {
    signal?.throwIfAborted();
    const { resolution, size, seed, split } = this.options;
    const bytes = resolution * resolution * 3;
    const images = new Uint8Array(indices.length * bytes);
    const labels = new Uint32Array(indices.length);
    const draw = new Draw(seed, split === 'train' ? 0 : 1);
    indices.forEach((index, position) => {
      if (index >= size) {
        throw new ArgumentError('E_VALUE', `shapes: expected an index below ${size}, got ${index}`, { help: 'raise the option size' });
      }
      const label = index % this.kinds.length;
      labels[position] = label;
      draw.start(index);
      render(images.subarray(position * bytes, (position + 1) * bytes), resolution, this.kinds[label]!, draw);
    });
    return { images, shape: [indices.length, resolution, resolution, 3], labels };
  }

  async close(): Promise<void> {}
}

/** Uniform numbers of one image: xoroshiro64** started at a state that is a bijection of the image's index, so that no two are equal. */
class Draw {
  private readonly key0: number;
  private readonly key1: number;
  private s0 = 0;
  private s1 = 0;

  constructor(seed: number, split: number) {
    this.key0 = hash(seed, split, 0);
    this.key1 = hash(seed, split, 1);
  }

  start(index: number): void {
    this.s0 = mix(index ^ this.key0);
    this.s1 = mix((index + this.key1) | 0) || 1;
  }

  /** The next number in [low, high). */
  next(low: number, high: number): number {
    const s0 = this.s0;
    const product = Math.imul(s0, 0x9e3779bb);
    const value = Math.imul((product << 5) | (product >>> 27), 5) >>> 0;
    const s1 = this.s1 ^ s0;
    this.s0 = ((s0 << 26) | (s0 >>> 6)) ^ s1 ^ (s1 << 9);
    this.s1 = (s1 << 13) | (s1 >>> 19);
    return low + (high - low) * (value / 2 ** 32);
  }
}

/** Largest rotation either way, by class: a full one where the shape stays itself, less where it has a right way up. */
const rotations = [0, 0, 0.79, 1.05, 0.63, 0.79, 3.14, 0.5, 1.57, 1.57] as const;

/** Draws one image into `out`, `[resolution, resolution, 3]`. */
function render(out: Uint8Array, resolution: number, kind: number, draw: Draw): void {
  const rotation = draw.next(-1, 1) * rotations[kind]!;
  const radius = draw.next(0.3, 0.43) * resolution;
  const slack = 0.48 * resolution - radius; // 2 % of the image stays free on each side
  const centreX = 0.5 * resolution + draw.next(-slack, slack);
  const centreY = 0.5 * resolution + draw.next(-slack, slack);
  const lightOnDark = draw.next(0, 1) < 0.5;
  const back = gradient(draw, !lightOnDark);
  const front = gradient(draw, lightOnDark);

  // The background's gradient runs from 0 to 1 between two opposite corners at most.
  const backNorm = (Math.abs(back.x) + Math.abs(back.y)) * resolution;
  const backX = back.x / backNorm;
  const backY = back.y / backNorm;
  const backStart = 0.5 - 0.5 * resolution * (backX + backY);
  const cos = Math.cos(rotation) / radius;
  const sin = Math.sin(rotation) / radius;
  const reach = (radius + 0.5) ** 2;
  const [r0, g0, b0] = back.from;
  const [r1, g1, b1] = back.to;
  const [r2, g2, b2] = front.from;
  const [r3, g3, b3] = front.to;

  let offset = 0;
  for (let row = 0; row < resolution; row++) {
    const dy = row + 0.5 - centreY;
    for (let column = 0; column < resolution; column++, offset += 3) {
      const t = backStart + backX * (column + 0.5) + backY * (row + 0.5);
      let r = r0 + (r1 - r0) * t;
      let g = g0 + (g1 - g0) * t;
      let b = b0 + (b1 - b0) * t;
      const dx = column + 0.5 - centreX;
      if (dx * dx + dy * dy < reach) {
        const x = cos * dx + sin * dy;
        const y = cos * dy - sin * dx;
        const coverage = Math.min(1, Math.max(0, 0.5 - distance(kind, x, y) * radius));
        if (coverage > 0) {
          const u = Math.min(1, Math.max(0, 0.5 + 0.5 * (front.x * x + front.y * y)));
          r += (r2 + (r3 - r2) * u - r) * coverage;
          g += (g2 + (g3 - g2) * u - g) * coverage;
          b += (b2 + (b3 - b2) * u - b) * coverage;
        }
      }
      out[offset] = r + 0.5;
      out[offset + 1] = g + 0.5;
      out[offset + 2] = b + 0.5;
    }
  }
}

type Colour = readonly [number, number, number];

/** Two colours of like lightness and neighbouring hues, and the direction from one to the other. */
function gradient(draw: Draw, light: boolean): { from: Colour; to: Colour; x: number; y: number } {
  const hue = draw.next(0, 2 * Math.PI);
  const turn = draw.next(-1, 1);
  const direction = draw.next(0, 2 * Math.PI);
  return {
    from: colour(draw, light, hue),
    to: colour(draw, light, hue + turn + Math.sign(turn) * 0.4),
    x: Math.cos(direction),
    y: Math.sin(direction),
  };
}

/** 8-bit sRGB of an Oklch colour; lightness of dark and light ones differs by 0.3 or more (https://bottosson.github.io/posts/oklab/). */
function colour(draw: Draw, light: boolean, hue: number): Colour {
  const lightness = light ? draw.next(0.72, 0.93) : draw.next(0.22, 0.42);
  const chroma = light ? draw.next(0.06, 0.16) : draw.next(0.04, 0.12);
  const a = chroma * Math.cos(hue);
  const b = chroma * Math.sin(hue);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    srgb(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    srgb(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    srgb(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

/** Linear light to 8 bits. Rounding here keeps the images equal on engines whose `pow` differs in the last bit. */
function srgb(linear: number): number {
  const encoded = linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055;
  return Math.round(255 * Math.min(1, Math.max(0, encoded)));
}

/** Signed distance, or a bound with the right slope at the outline, to a shape within the unit circle; negative inside. y points down. */
function distance(kind: number, x: number, y: number): number {
  switch (kind) {
    case 0:
      return Math.sqrt(x * x + y * y) - 0.86;
    case 1:
      return Math.abs(Math.sqrt(x * x + y * y) - 0.71) - 0.24;
    case 2:
      return Math.max(Math.abs(x), Math.abs(y)) - 0.69;
    case 3:
      return Math.max(y, 0.8660254 * Math.abs(x) - 0.5 * y) - 0.5;
    case 4:
      return star(x, y);
    case 5: {
      const low = Math.min(Math.abs(x), Math.abs(y));
      const high = Math.max(Math.abs(x), Math.abs(y));
      return Math.max(high - 0.92, low - 0.29);
    }
    case 6:
      return Math.max(Math.sqrt(x * x + y * y) - 0.95, 0.72 - Math.sqrt((x - 0.46) ** 2 + y * y));
    case 7:
      return heart(x, y);
    case 8: {
      const period = 0.74;
      const phase = y / period - Math.round(y / period);
      return Math.max(Math.sqrt(x * x + y * y) - 0.98, Math.abs(phase) * period - 0.21);
    }
    default:
      return Math.max(Math.abs(y) - 0.78, (Math.abs(x) - 0.72 * Math.abs(y) - 0.08) * 0.8115);
  }
}

/** Five points, after https://iquilezles.org/articles/distfunctions2d (star), the point up. */
function star(x: number, y: number): number {
  const cos = 0.809016994375; // of 36 degrees
  const sin = 0.587785252292;
  x = Math.abs(x);
  y = -y;
  let fold = Math.max(cos * x - sin * y, 0);
  x -= 2 * fold * cos;
  y += 2 * fold * sin;
  fold = Math.max(-cos * x - sin * y, 0);
  x = Math.abs(x + 2 * fold * cos);
  y = y + 2 * fold * sin - 1;
  const edgeX = 0.48 * sin;
  const edgeY = 0.48 * cos - 1;
  const along = Math.min(1, Math.max(0, (x * edgeX + y * edgeY) / (edgeX * edgeX + edgeY * edgeY)));
  const side = y * edgeX - x * edgeY;
  return Math.sqrt((x - edgeX * along) ** 2 + (y - edgeY * along) ** 2) * (side > 0 ? 1 : -1);
}

/** After https://iquilezles.org/articles/distfunctions2d (heart), scaled to the unit circle. */
function heart(x: number, y: number): number {
  const scale = 0.68;
  x = Math.abs(x) * scale;
  y = 0.56 - y * scale;
  if (y + x > 1) return (Math.sqrt((x - 0.25) ** 2 + (y - 0.75) ** 2) - 0.3535534) / scale;
  const half = 0.5 * Math.max(x + y, 0);
  const squared = Math.min(x * x + (y - 1) ** 2, (x - half) ** 2 + (y - half) ** 2);
  return (Math.sqrt(squared) * Math.sign(x - y)) / scale;
}

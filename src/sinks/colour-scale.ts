/**
 * Colours for numbers: interpolated in OKLab (Ottosson 2020), where equal steps look equal.
 */

type Colour = readonly [red: number, green: number, blue: number];

/** `sequential` runs from dark to bright, `diverging` from blue over near-white in the middle to orange. */
export type ColourScaleKind = 'sequential' | 'diverging';

/** Dark blue to bright yellow: brightness rises all the way, so that it also reads in grey and with every common colour vision. */
const sequential = ['#171443', '#2b3c86', '#20728f', '#23a07c', '#8cc84f', '#f8e95c'].map(parse);

/** Around Okabe and Ito's blue and vermilion. */
const diverging = ['#003a63', '#2f86c1', '#f4f4f2', '#dd7328', '#7c2d00'].map(parse);

function parse(hex: string): Colour {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255) as unknown as Colour;
}

const toLinear = (value: number) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const fromLinear = (value: number) => (value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055);

function toOklab([red, green, blue]: Colour): Colour {
  const [r, g, b] = [toLinear(red), toLinear(green), toLinear(blue)];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function fromOklab([lightness, a, b]: Colour): Colour {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    fromLinear(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    fromLinear(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    fromLinear(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

const stops: Record<ColourScaleKind, Colour[]> = { sequential: sequential.map(toOklab), diverging: diverging.map(toOklab) };

/** The colour of a place on a scale, `at` from 0 to 1 (clamped), as `#rrggbb`. */
export function colourAt(kind: ColourScaleKind, at: number): string {
  const all = stops[kind];
  const place = Math.min(1, Math.max(0, at)) * (all.length - 1);
  const k = Math.min(all.length - 2, Math.floor(place));
  const [from, to] = [all[k]!, all[k + 1]!];
  const mixed = from.map((value, channel) => value + (place - k) * (to[channel]! - value)) as unknown as Colour;
  const bytes = fromOklab(mixed).map((value) => Math.round(255 * Math.min(1, Math.max(0, value))));
  return `#${bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

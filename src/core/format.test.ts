import { expect, it } from 'vitest';
import { formatBytes, formatDuration, formatKimg, formatNumber } from './format.js';

it.each([
  [0, '0'],
  [1, '1.000'],
  [12.345, '12.35'],
  [-0.012345, '-0.01235'],
  [1234567, '1,234,567'],
  [1234.5, '1,235'],
  [0.00012345, '1.23e-4'],
  [3e12, '3e12'],
  [NaN, 'NaN'],
  [Infinity, 'Infinity'],
])('formatNumber(%d) is %s', (value, text) => expect(formatNumber(value)).toBe(text));

it.each([
  [0, '0'],
  [64, '0.064'],
  [12_800, '12.8'],
  [500_032, '500'],
  [460_850, '460.9'],
  [5_000_000, '5,000'],
])('formatKimg(%d) is %s', (images, text) => expect(formatKimg(images)).toBe(text));

it.each([
  [0.4, '0s'],
  [59.6, '1m 00s'],
  [725, '12m 05s'],
  [11_220, '3h 07m'],
  [187_200, '2d 04h'],
  [-0.3, '0s'],
  [NaN, '?'],
  [Infinity, '?'],
])('formatDuration(%d) is %s', (seconds, text) => expect(formatDuration(seconds)).toBe(text));

it.each([
  [0, '0 B'],
  [812, '812 B'],
  [999.6, '1.00 kB'],
  [45_123, '45.1 kB'],
  [999_600, '1.00 MB'],
  [223_500_000, '224 MB'],
  [1_183_597_068, '1.18 GB'],
  [5e15, '5,000 TB'],
  [-1, '0 B'],
  [NaN, '?'],
])('formatBytes(%d) is %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

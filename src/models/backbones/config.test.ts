import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../core/errors.js';
import { resolveBackboneConfig, type BackboneOptions } from './config.js';

const problems = (options: unknown): readonly string[] => {
  try {
    resolveBackboneConfig(options as BackboneOptions);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
};

describe('resolveBackboneConfig', () => {
  it('fills in the published defaults', () => {
    const config = resolveBackboneConfig({ model_type: 'SongUNet', img_resolution: 32 });
    expect(config).toMatchObject({ img_channels: 3, model_channels: 128, channel_mult: [1, 2, 2, 2], num_blocks: 4, dropout: 0.1 });
  });

  it('refuses unknown keys and sizes that do not halve, all at once', () => {
    expect(problems({ model_type: 'SongUNet', img_resolution: 32, blocks: 3 })).toEqual(['(top): Unrecognized key: "blocks"']);
    expect(problems({ model_type: 'SongUNet', img_resolution: 30, channel_mult: [1, 2, 2] })).toEqual([
      'img_resolution: 30 cannot be halved 2 times, as 3 entries of channel_mult ask',
    ]);
  });

  // Configurations also come out of files: building what such a number asks for would not end.
  it.each([
    ['num_blocks', { num_blocks: 1e9 }],
    ['channel_mult', { channel_mult: Array.from({ length: 10_000 }, () => 1) }],
    ['model_channels', { model_channels: 4e15 }],
    ['resample_filter', { resample_filter: Array.from({ length: 10_000 }, () => 1) }],
    ['label_dim', { label_dim: 1e12 }],
  ])('bounds %s', (path, option) => {
    const found = problems({ model_type: 'SongUNet', img_resolution: 32, ...option });
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(path);
  });
});

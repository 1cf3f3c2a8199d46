import { describe, expect, it } from 'vitest';
import { createBackbone, publishedBackbones } from '../backbones/config.js';
import { freezeConvolutions, freezeNothing, freezeWhere, trainOnly } from './policies.js';
import { formatFreezeSummary, summarizeFreeze } from './summary.js';

// SPEC.md section 3: parameters, frozen at level 1, 2, 3. The table counts networks without the augmentation mapping.
const published = {
  'cifar10-ncsnpp-uncond': [56_395_523, 47_597_568, 48_781_824, 51_015_168],
  'cifar10-ncsnpp-cond': [56_398_339, 47_597_568, 48_781_824, 51_015_168],
  'cifar10-ddpmpp-uncond': [55_732_739, 47_597_568, 48_781_824, 51_015_168],
  'ffhq64-ncsnpp': [62_758_787, 52_614_144, 53_798_400, 56_294_912],
  'imagenet64-adm': [295_899_267, 233_065_920, 257_324_160, 266_807_616],
} as const;

describe('freeze policies on the published networks', () => {
  for (const [name, [total, ...frozen]] of Object.entries(published))
    it(name, () => {
      const network = createBackbone({ ...publishedBackbones[name as keyof typeof published], augment_dim: 0 });
      const count = (level: 0 | 1 | 2 | 3) => summarizeFreeze(network.parameters(), freezeConvolutions({ level }));
      expect(count(0)).toMatchObject({ total, frozen: 0, frozenShare: 0 });
      expect(([1, 2, 3] as const).map((level) => count(level).frozen)).toEqual(frozen);
      expect(network.tensors().some(({ allocated }) => allocated)).toBe(false);
    });
});

describe('policies by predicate', () => {
  const parameters = createBackbone({
    model_type: 'SongUNet',
    img_resolution: 16,
    model_channels: 16,
    channel_mult: [1, 2],
    num_blocks: 1,
  }).parameters();

  it('freezeNothing trains all', () => {
    expect(summarizeFreeze(parameters, freezeNothing()).frozen).toBe(0);
  });

  it('freezeWhere and trainOnly are complements', () => {
    const decoder = ({ block }: { block: string | undefined }) => block?.startsWith('dec.') ?? false;
    const frozen = summarizeFreeze(parameters, freezeWhere(decoder)).frozen;
    expect(frozen).toBeGreaterThan(0);
    expect(summarizeFreeze(parameters, trainOnly(decoder)).trained).toBe(frozen);
  });

  it('sees kind, role, level and name', () => {
    const chosen = parameters.filter(
      ({ kind, role, level, name }) => kind === 'conv' && role === 'conv0' && level === 1 && name.endsWith('.weight'),
    );
    expect(chosen.map(({ block }) => block)).toEqual([
      'enc.8x8_down',
      'enc.8x8_block0',
      'dec.8x8_in0',
      'dec.8x8_in1',
      'dec.8x8_block0',
      'dec.8x8_block1',
    ]);
  });

  it('prints a table whose last line is the whole network', () => {
    const lines = formatFreezeSummary(summarizeFreeze(parameters, freezeConvolutions())).split('\n');
    expect(lines[0]).toBe('GDD-I (level 1)');
    expect(lines.at(-1)).toMatch(/^all\s+\d+\s+[\d,]+\s+[\d,]+\s+\d+\.\d%$/);
  });
});

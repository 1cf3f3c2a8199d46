import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { publishedBackbones, resolveBackboneConfig } from '../backbones/config.js';
import { publishedTeachers, publishedTeacherSize, resolveFile, type PublishedTeacherName } from './published-teachers.js';

let directory: string;
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'onestep-teachers-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const names = Object.keys(publishedTeachers) as PublishedTeacherName[];

describe('the published teachers', () => {
  it('are nine, each under its own address with an architecture that its name says', () => {
    expect(names).toHaveLength(9);
    for (const name of names) {
      const { network, address, fileName, licence } = publishedTeachers[name];
      expect(address).toBe(`https://nvlabs-fi-cdn.nvidia.com/edm/pretrained/${name}.pkl`);
      expect(fileName).toBe(`${name}.pkl`);
      expect(licence).toContain('CC BY-NC-SA 4.0');
      const config = resolveBackboneConfig(publishedBackbones[network]);
      const [, data, resolution, conditional, formulation] = /^edm-(\w+)-(\d+)x\d+-(\w+)-(\w+)$/.exec(name)!;
      expect(config.img_resolution).toBe(Number(resolution));
      expect(config.label_dim).toBe(conditional === 'uncond' ? 0 : data === 'cifar10' ? 10 : 1000);
      expect(config.dropout).toBe({ cifar10: 0.13, ffhq: 0.05, afhqv2: 0.25, imagenet: 0.1 }[data!]);
      if (config.model_type === 'SongUNet') expect(config.encoder_type).toBe(formulation === 've' ? 'residual' : 'standard');
      else expect(formulation).toBe('adm');
    }
  });

  it.each([
    // SPEC.md section 3, and the augmentation mapping that the files hold: 9 rows of noise channels (NCSN++ 256, DDPM++ 128).
    ['edm-cifar10-32x32-uncond-ve', 56_395_523 + 9 * 256],
    ['edm-cifar10-32x32-cond-ve', 56_398_339 + 9 * 256],
    ['edm-cifar10-32x32-uncond-vp', 55_732_739 + 9 * 128],
    ['edm-cifar10-32x32-cond-vp', 55_732_739 + 9 * 128 + 11 * 128],
    ['edm-afhqv2-64x64-uncond-ve', 62_758_787 + 9 * 256],
    ['edm-imagenet-64x64-cond-adm', 295_899_267],
  ] as const)('%s has %d parameters', (name, parameters) => {
    const size = publishedTeacherSize(name);
    expect(size.parameters).toBe(parameters);
    expect(size.bytes / (4 * parameters)).toBeCloseTo(1, 4);
  });
});

describe('resolveFile', () => {
  it('finds a published teacher that was put into the cache by hand', async () => {
    const path = join(directory, 'downloads', 'published', 'edm-ffhq-64x64-uncond-ve.pkl');
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, 'weights');
    expect(await resolveFile('edm-ffhq-64x64-uncond-ve', { cacheDir: directory, offline: true })).toBe(path);
  });

  it('names the nearest teachers for one that is unknown', async () => {
    const error = await resolveFile('edm-cifar10-32x32-uncnd-ve').catch((error: Error) => error);
    expect(error).toMatchObject({ code: 'E_DOWNLOAD_NAME', help: expect.stringContaining('edm-cifar10-32x32-uncond-ve') });
    for (const name of names) expect(String(error)).toContain(name);
  });
});

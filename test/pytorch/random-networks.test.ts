/** Networks of random configurations, made and evaluated by PyTorch: snapshots load, and every value and gradient agrees. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { edmSnapshot, parity, readSafetensors, resolveBackboneConfig, type BackboneOptions, type ParityRow } from '../../src/index.js';
import { engines, useEngine } from '../support/engines.js';
import { hasPyTorch, runTool, sameBits, temporaryDirectory } from '../support/pytorch.js';

const COUNT = 9;
const names = Array.from({ length: COUNT }, (_, seed) => `random-${seed}`);

describe.skipIf(!hasPyTorch)('networks of random configurations, beside PyTorch', () => {
  const directory = temporaryDirectory();
  let rows: ParityRow[];

  beforeAll(async () => {
    await useEngine(engines[0]!);
    runTool('make_random_networks.py', directory, '--count', String(COUNT), '--seed', '0');
    rows = await parity(directory);
  });

  it('are of both architectures, conditional and not, with every encoder, decoder, embedding and filter', () => {
    const configs = names.map(
      (name) => JSON.parse(readFileSync(join(directory, `${name}.json`), 'utf8')).config as Record<string, unknown>,
    );
    const kinds = (key: string) => new Set(configs.map((config) => JSON.stringify(config[key] ?? null))).size;
    expect(kinds('model_type')).toBe(2);
    for (const key of ['encoder_type', 'decoder_type', 'embedding_type', 'resample_filter', 'label_dim', 'augment_dim', 'num_blocks'])
      expect(kinds(key), key).toBeGreaterThan(1);
  });

  it.each(names)('%s computes what PyTorch computes', (name) => {
    const checks = (subject: string) =>
      rows.filter((row) => row.subject === subject).map(({ check, status, note }) => ({ check, status, note }));
    const outputs = ['raw output F', 'one-step output G', 'denoised output D'];
    const expected = (list: string[]) => expect.arrayContaining(list.map((check) => expect.objectContaining({ check, status: 'ok' })));
    expect(checks(name)).toEqual(expected([...outputs, 'gradient of the image', 'gradient norms']));
    expect(checks(`${name}.pkl`)).toEqual(expected([...outputs, 'tensors']));
    expect(rows.filter(({ status }) => status === 'failed')).toEqual([]);
  });

  it.each(names)('%s loads from its snapshot: the stored architecture, every tensor bit for bit', async (name) => {
    const { config } = JSON.parse(readFileSync(join(directory, `${name}.json`), 'utf8')) as { config: BackboneOptions };
    const weights = await readSafetensors(join(directory, `${name}.weights.safetensors`));
    const { backbone } = await edmSnapshot(join(directory, `${name}.pkl`)).load();
    expect(backbone.config).toEqual(resolveBackboneConfig(config));
    expect(
      backbone
        .tensors()
        .map((tensor) => tensor.name)
        .sort(),
    ).toEqual([...weights.tensors.keys()].sort());
    for (const tensor of backbone.tensors())
      expect(sameBits(tensor.read(), await weights.readAsFloat32(tensor.name)), tensor.name).toBe(true);
    backbone.dispose();
  });
});

/** Students go to PyTorch and back: a saved file fits its architecture strictly, computes the same there, and comes back bit for bit. */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createBackbone, loadStudent, parity, PhiloxRandom, Student, type Backbone, type BackboneOptions } from '../../src/index.js';
import { engines, useEngine } from '../support/engines.js';
import { hasPyTorch, runTool, sameBits, temporaryDirectory } from '../support/pytorch.js';
import { tinyBackbone } from '../support/tiny.js';

const configs: Record<string, BackboneOptions> = {
  'ncsnpp-cond': { ...tinyBackbone, label_dim: 5, augment_dim: 9 } as BackboneOptions,
  'ddpmpp-skip': {
    model_type: 'SongUNet',
    img_resolution: 8,
    img_channels: 1,
    model_channels: 8,
    channel_mult: [1, 2, 2],
    num_blocks: 2,
    attn_resolutions: [8, 4],
    encoder_type: 'skip',
    decoder_type: 'skip',
  },
  adm: {
    model_type: 'DhariwalUNet',
    img_resolution: 8,
    label_dim: 3,
    model_channels: 64,
    channel_mult: [1, 2],
    num_blocks: 1,
    attn_resolutions: [4],
  },
};

/** Random values everywhere, also where training starts from zero. */
function randomBackbone(config: BackboneOptions): Backbone {
  const backbone = createBackbone(config).initialize(new PhiloxRandom(3));
  const stream = new PhiloxRandom(4).stream('weights');
  for (const parameter of backbone.parameters()) {
    const scale = parameter.shape.length > 1 ? Math.sqrt(parameter.shape[0]! / parameter.size) : 0.1;
    parameter.load(stream.normal(parameter.size).map((value) => value * scale));
  }
  return backbone;
}

const names = Object.keys(configs);

describe.skipIf(!hasPyTorch)('a student in PyTorch', () => {
  const directory = temporaryDirectory();
  const students = new Map<string, Student>();
  const saved = (name: string) => join(directory, `${name}-saved.safetensors`);

  beforeAll(async () => {
    await useEngine(engines[0]!);
    for (const name of names) {
      const student = new Student(name, randomBackbone(configs[name]!));
      await student.save(saved(name));
      students.set(name, student);
    }
    runTool('load_student.py', ...names.flatMap((name) => [saved(name), join(directory, name)]));
  });

  it.each(names)('%s', async (name) => {
    const student = students.get(name)!;
    const rows = await parity(directory, { only: name });
    const checks = rows.map(({ check, status }) => [check, status]);
    for (const check of ['weights', 'raw output F', 'one-step output G', 'denoised output D', 'gradient of the image', 'gradient norms'])
      expect(checks).toContainEqual([check, 'ok']);
    expect(rows.filter(({ status }) => status === 'failed')).toEqual([]);

    const again = await loadStudent(saved(name));
    const fromPyTorch = await loadStudent(join(directory, `${name}.weights.safetensors`));
    for (const [index, tensor] of student.backbone.tensors().entries()) {
      expect(sameBits(again.backbone.tensors()[index]!.read(), tensor.read()), tensor.name).toBe(true);
      expect(sameBits(fromPyTorch.backbone.tensors()[index]!.read(), tensor.read()), tensor.name).toBe(true);
    }
    for (const { backbone } of [student, again, fromPyTorch]) backbone.dispose();
  });
});

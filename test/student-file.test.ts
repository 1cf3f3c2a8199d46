/** The bytes of a saved student, derived by hand from the names, shapes and layout that PyTorch expects: no Python needed. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBackbone, loadStudent, Student, type BackboneOptions } from '../src/index.js';
import { engines, useEngine } from './support/engines.js';

const config: BackboneOptions = {
  model_type: 'SongUNet',
  img_resolution: 4,
  img_channels: 1,
  label_dim: 2,
  dropout: 0,
  model_channels: 4,
  channel_mult: [1, 2],
  channel_mult_emb: 1,
  num_blocks: 1,
  attn_resolutions: [],
  embedding_type: 'fourier',
  resample_filter: [1, 3, 3, 1],
};

type Entry = [name: string, shape: number[]];

const norm = (name: string, channels: number): Entry[] => [
  [`${name}.weight`, [channels]],
  [`${name}.bias`, [channels]],
];
const linear = (name: string, inputs: number, outputs: number): Entry[] => [
  [`${name}.weight`, [outputs, inputs]],
  [`${name}.bias`, [outputs]],
];
const conv = (name: string, inputs: number, outputs: number, kernel = 3): Entry[] => [
  [`${name}.weight`, [outputs, inputs, kernel, kernel]],
  [`${name}.bias`, [outputs]],
];

/** A residual block: a skip where channels or resolution change, attention where asked for. */
const block = (name: string, inputs: number, outputs: number, { resampled = false, attention = false } = {}): Entry[] => [
  ...norm(`${name}.norm0`, inputs),
  ...conv(`${name}.conv0`, inputs, outputs),
  ...linear(`${name}.affine`, 4, outputs),
  ...norm(`${name}.norm1`, outputs),
  ...conv(`${name}.conv1`, outputs, outputs),
  ...(resampled || inputs !== outputs ? conv(`${name}.skip`, inputs, outputs, 1) : []),
  ...(attention
    ? [...norm(`${name}.norm2`, outputs), ...conv(`${name}.qkv`, outputs, 3 * outputs, 1), ...conv(`${name}.proj`, outputs, outputs, 1)]
    : []),
];

/** Four channels at 4 px, eight at 2 px; each decoder block takes one skip: of 8, 4, 4 and 4 channels. */
const entries: Entry[] = [
  ...linear('model.map_label', 2, 4),
  ...linear('model.map_layer0', 4, 4),
  ...linear('model.map_layer1', 4, 4),
  ...conv('model.enc.4x4_conv', 1, 4),
  ...block('model.enc.4x4_block0', 4, 4),
  ...block('model.enc.2x2_down', 4, 4, { resampled: true }),
  ...block('model.enc.2x2_block0', 4, 8),
  ...block('model.dec.2x2_in0', 8, 8, { attention: true }),
  ...block('model.dec.2x2_in1', 8, 8),
  ...block('model.dec.2x2_block0', 8 + 8, 8),
  ...block('model.dec.2x2_block1', 8 + 4, 8),
  ...block('model.dec.4x4_up', 8, 8, { resampled: true }),
  ...block('model.dec.4x4_block0', 8 + 4, 4),
  ...block('model.dec.4x4_block1', 4 + 4, 4),
  ...norm('model.dec.4x4_aux_norm', 4),
  ...conv('model.dec.4x4_aux_conv', 4, 1),
  // Buffers come last.
  ['model.map_noise.freqs', [2]],
  ...['enc.2x2_down.conv0', 'enc.2x2_down.skip', 'dec.4x4_up.conv0', 'dec.4x4_up.skip'].map((name): Entry => [
    `model.${name}.resample_filter`,
    [1, 1, 4, 4],
  ]),
];
const sizes = entries.map(([, shape]) => shape.reduce((a, b) => a * b, 1));
const total = sizes.reduce((a, b) => a + b, 0);

/** Length, JSON padded with blanks to eight bytes, then 0, 1, 2, … through all tensors in float32. */
function expectedBytes(metadata: object): Buffer {
  let at = 0;
  const header: Record<string, unknown> = { __metadata__: metadata };
  entries.forEach(([name, shape], index) => {
    header[name] = { dtype: 'F32', shape, data_offsets: [at, (at += 4 * sizes[index]!)] };
  });
  const json = JSON.stringify(header);
  const padded = json.padEnd(Math.ceil(json.length / 8) * 8, ' ');
  const bytes = Buffer.alloc(8 + padded.length + 4 * total);
  bytes.writeUInt32LE(padded.length, 0);
  bytes.write(padded, 8, 'latin1');
  for (let value = 0; value < total; value++) bytes.writeFloatLE(value, 8 + padded.length + 4 * value);
  return bytes;
}

describe('the file of a student', () => {
  const directory = mkdtempSync(join(tmpdir(), 'onestep-student-'));
  const path = join(directory, 'student.safetensors');
  afterAll(() => rmSync(directory, { recursive: true }));

  beforeAll(async () => {
    await useEngine(engines[0]!);
    const backbone = createBackbone(config);
    let at = 0;
    for (const tensor of backbone.tensors()) tensor.load(Float32Array.from({ length: tensor.size }, () => at++));
    const student = new Student('student', backbone);
    await student.save(path);
    student.dispose();
  });

  it('has these bytes', () => {
    const bytes = readFileSync(path);
    expect(bytes.equals(expectedBytes({ format: 'pt', config: JSON.stringify(createBackbone(config).config), onestep: 'student' }))).toBe(
      true,
    );
    // Of numpy.arange(10783, dtype='<f4').
    const data = bytes.subarray(bytes.length - 4 * total);
    expect(createHash('sha256').update(data).digest('hex')).toBe('fcd5d447d6525036f70bf161a413a13df09132cedc1da265ba479d8e78b54737');
  });

  it('comes back bit for bit', async () => {
    const { backbone } = await loadStudent(path);
    expect(backbone.config).toEqual(createBackbone(config).config);
    let at = 0;
    for (const tensor of backbone.tensors())
      expect(tensor.read(), tensor.name).toEqual(Float32Array.from({ length: tensor.size }, () => at++));
    expect(at).toBe(total);
    backbone.dispose();
  });
});

/** Diffusers folders: what is read, and what is refused. Numbers are checked in test/ddpm-unet.test.ts. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { goldenPath } from '../../../test/support/golden.js';
import { readSafetensors, writeSafetensors } from '../../core/safetensors.js';
import { useEngine } from '../../../test/support/engines.js';
import { diffusersConfig } from './diffusers-config.js';
import { diffusersTeacher } from './diffusers-teacher.js';

// The published files of google/ddpm-cifar10-32, but for the fields that name paths and versions.
const network = {
  _class_name: 'UNet2DModel',
  _diffusers_version: '0.0.4',
  act_fn: 'silu',
  attention_head_dim: null,
  block_out_channels: [128, 256, 256, 256],
  center_input_sample: false,
  down_block_types: ['DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D'],
  downsample_padding: 0,
  flip_sin_to_cos: false,
  freq_shift: 1,
  in_channels: 3,
  layers_per_block: 2,
  mid_block_scale_factor: 1,
  norm_eps: 1e-6,
  norm_num_groups: 32,
  out_channels: 3,
  sample_size: 32,
  time_embedding_type: 'positional',
  up_block_types: ['UpBlock2D', 'UpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'],
};
const scheduler = {
  _class_name: 'DDPMScheduler',
  _diffusers_version: '0.1.0',
  beta_end: 0.02,
  beta_schedule: 'linear',
  beta_start: 0.0001,
  clip_sample: true,
  num_train_timesteps: 1000,
  trained_betas: null,
  variance_type: 'fixed_large',
};

describe('diffusersConfig', () => {
  it('reads the published files of ddpm-cifar10-32', () => {
    expect(diffusersConfig('config.json', network, scheduler)).toEqual({
      model_type: 'DdpmUNet',
      img_resolution: 32,
      img_channels: 3,
      label_dim: 0,
      augment_dim: 0,
      dropout: 0,
      block_out_channels: [128, 256, 256, 256],
      layers_per_block: 2,
      down_block_types: network.down_block_types,
      up_block_types: network.up_block_types,
      add_attention: true,
      attention_head_dim: null,
      downsample_padding: 0,
      mid_block_scale_factor: 1,
      norm_num_groups: 32,
      norm_eps: 1e-6,
      flip_sin_to_cos: false,
      freq_shift: 1,
      scheduler: { num_train_timesteps: 1000, beta_schedule: 'linear', beta_start: 0.0001, beta_end: 0.02, prediction_type: 'epsilon' },
    });
  });

  it('reads the fields of later versions where they say the same', () => {
    const later = {
      ...network,
      add_attention: true,
      attn_norm_num_groups: null,
      class_embed_type: null,
      downsample_type: 'conv',
      dropout: 0.1,
      num_class_embeds: null,
      num_train_timesteps: null,
      resnet_time_scale_shift: 'default',
      time_embedding_dim: null,
      upsample_type: 'conv',
      sample_size: [32, 32],
    };
    const published = diffusersConfig('config.json', network, scheduler);
    expect(diffusersConfig('config.json', later, { ...scheduler, rescale_betas_zero_snr: false })).toEqual({ ...published, dropout: 0.1 });
  });

  it('has the defaults of diffusers where a file is silent', () => {
    const config = diffusersConfig('config.json', { _class_name: 'UNet2DModel', sample_size: 32 }, {});
    expect(config).toMatchObject({
      block_out_channels: [224, 448, 672, 896],
      attention_head_dim: 8,
      downsample_padding: 1,
      flip_sin_to_cos: true,
    });
  });

  it('names every field that is not supported, of both files, at once, and says what is', () => {
    const attempt = () =>
      diffusersConfig(
        'config.json',
        {
          ...network,
          _class_name: 'UNet2DConditionModel',
          act_fn: 'gelu',
          attn_norm_num_groups: 8,
          center_input_sample: true,
          class_embed_type: 'timestep',
          cross_attention_dim: 768,
          down_block_types: ['ResnetDownsampleBlock2D', 'SkipDownBlock2D', 'KDownBlock2D', 'DownBlock2D'],
          downsample_padding: 2,
          downsample_type: 'resnet',
          num_class_embeds: 1000,
          out_channels: 6,
          resnet_time_scale_shift: 'scale_shift',
          sample_size: [32, 64],
          time_embedding_dim: 100,
          time_embedding_type: 'fourier',
        },
        {
          ...scheduler,
          _class_name: 'ScoreSdeVeScheduler',
          beta_schedule: 'sigmoid',
          trained_betas: [0.1],
          rescale_betas_zero_snr: true,
          snr: 0.15,
        },
      );
    for (const field of [
      '_class_name',
      'act_fn',
      'attn_norm_num_groups',
      'center_input_sample',
      'class_embed_type',
      'cross_attention_dim',
      'down_block_types.0',
      'down_block_types.1',
      'down_block_types.2',
      'downsample_padding',
      'downsample_type',
      'num_class_embeds',
      'out_channels',
      'resnet_time_scale_shift',
      'sample_size',
      'time_embedding_dim',
      'time_embedding_type',
      'scheduler._class_name',
      'scheduler.beta_schedule',
      'scheduler.trained_betas',
      'scheduler.rescale_betas_zero_snr',
      'scheduler.snr',
    ])
      expect(attempt).toThrow(`\n  - ${field}: `);
    expect(attempt).toThrow(/^config\.json: 22 problems/);
    expect(attempt).toThrow(/help: supported are UNet2DModel .* AttnDownBlock2D/);
  });

  it('asks for what the folder does not say', () => {
    const { sample_size: _, ...sizeless } = network;
    expect(() => diffusersConfig('config.json', sizeless, undefined)).toThrow(/sample_size: .*resolution[^]*scheduler: .*option scheduler/);
    const config = diffusersConfig('config.json', sizeless, undefined, { resolution: 64, scheduler: { prediction_type: 'sample' } });
    expect(config).toMatchObject({ img_resolution: 64, scheduler: { beta_end: 0.02, prediction_type: 'sample' } });
  });
});

describe('diffusersTeacher', () => {
  let folder: string;
  const at = (...names: string[]) => join(folder, ...names);
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'onestep-'));
    cpSync(goldenPath('ddpm-unet'), folder, { recursive: true });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('reads a pipeline folder and the network folder in it, and says what it found', async () => {
    const file = await diffusersTeacher(folder).open();
    expect(file.path).toBe(at('unet', 'diffusion_pytorch_model.safetensors'));
    expect(file.notes.join()).toMatch(/1000 steps, betas linear, prediction epsilon,.* attentions have their former names/);
    expect([...file.weights.tensors.keys()].filter((name) => /query|proj_attn/.test(name))).toEqual([]);
    expect(await diffusersTeacher(at('unet')).describe()).toEqual(file.config);
  });

  it('reads shards, and the scheduler beside the network', async () => {
    renameSync(at('scheduler', 'scheduler_config.json'), at('scheduler_config.json'));
    const path = at('unet', 'diffusion_pytorch_model.safetensors');
    const file = await readSafetensors(path);
    const names = [...file.tensors.keys()];
    const weight_map: Record<string, string> = {};
    for (const part of [0, 1]) {
      const shard = `diffusion_pytorch_model-0000${part + 1}-of-00002.safetensors`;
      const chosen = names.filter((_, i) => i % 2 === part);
      for (const name of chosen) weight_map[name] = shard;
      const tensors = chosen.map(async (name) => ({ name, shape: file.tensors.get(name)!.shape, data: await file.readAsFloat32(name) }));
      await writeSafetensors(at('unet', shard), await Promise.all(tensors));
    }
    rmSync(path);
    writeFileSync(`${path}.index.json`, JSON.stringify({ metadata: {}, weight_map }));
    await useEngine('wasm');
    const [whole, sharded] = await Promise.all([diffusersTeacher(goldenPath('ddpm-unet')).load(), diffusersTeacher(folder).load()]);
    sharded.backbone.parameters().forEach((parameter, i) => expect(parameter.read()).toEqual(whole.backbone.parameters()[i]!.read()));
    whole.backbone.dispose();
    sharded.backbone.dispose();
  });

  it('reads PyTorch weights where there is no safetensors file, bit by bit the same', async () => {
    rmSync(folder, { recursive: true });
    cpSync(goldenPath('ddpm-unet-v'), folder, { recursive: true });
    rmSync(at('diffusion_pytorch_model.safetensors'));
    const [torch, whole] = await Promise.all([diffusersTeacher(folder).open(), diffusersTeacher(goldenPath('ddpm-unet-v')).open()]);
    expect(torch.path).toBe(at('diffusion_pytorch_model.bin'));
    expect([...torch.weights.tensors.keys()].sort()).toEqual([...whole.weights.tensors.keys()].sort());
    for (const name of torch.weights.tensors.keys())
      expect(await torch.weights.readAsFloat32(name)).toEqual(await whole.weights.readAsFloat32(name));
  });

  it.each([
    ['no folder', () => rmSync(folder, { recursive: true }), 'E_FILE_ABSENT', folderName],
    [
      'no configuration',
      () => rmSync(at('unet', 'config.json')),
      'E_FILE_ABSENT',
      () => 'expected unet/config.json or config.json, found golden.json, io.safetensors, scheduler, unet',
    ],
    [
      'no weights',
      () => rmSync(at('unet', 'diffusion_pytorch_model.safetensors')),
      'E_FILE_ABSENT',
      () => 'diffusion_pytorch_model.safetensors',
    ],
    [
      'a configuration that is cut off',
      () => cut(at('unet', 'config.json')),
      'E_FILE_FORMAT',
      () => 'config.json: expected an object of JSON',
    ],
    ['a configuration that is a list', () => writeFileSync(at('unet', 'config.json'), '[]'), 'E_FILE_FORMAT', () => 'found []'],
    ['no scheduler', () => rmSync(at('scheduler'), { recursive: true }), 'E_CONFIG', () => 'give the option scheduler'],
    ['weights that are cut off', () => cut(at('unet', 'diffusion_pytorch_model.safetensors')), 'E_FILE_TRUNCATED', () => 'safetensors'],
    [
      'weights of another width',
      () => widen(at('unet', 'config.json')),
      'E_WEIGHTS_MISMATCH',
      () => 'conv_in.weight: expected shape [32, 3, 3, 3], found [16, 3, 3, 3]',
    ],
  ])('%s is an error with a code', async (_, damage, code, message) => {
    damage();
    const loading = diffusersTeacher(folder).load();
    await expect(loading).rejects.toMatchObject({ code });
    await expect(loading).rejects.toThrow(message());
    mkdirSync(folder, { recursive: true });
  });

  it.skipIf(process.platform === 'win32')('a configuration that is a device, a page of the wrong kind or a very large file', async () => {
    const other = mkdtempSync(join(tmpdir(), 'onestep-diffusers-'));
    const path = join(other, 'config.json');
    try {
      symlinkSync('/dev/zero', path);
      await expect(diffusersTeacher(other).open()).rejects.toMatchObject({ code: 'E_FILE_NOT_READABLE', help: expect.any(String) });
      rmSync(path);
      writeFileSync(path, `["${'x'.repeat(500_000)}"]`);
      const error: unknown = await diffusersTeacher(other)
        .open()
        .catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'E_FILE_FORMAT', message: expect.stringMatching(/found \["x{38}\n/) });
      truncateSync(path, 2 ** 32);
      await expect(diffusersTeacher(other).open()).rejects.toMatchObject({ code: 'E_FILE_FORMAT', help: expect.any(String) });
    } finally {
      rmSync(other, { recursive: true });
    }
  });

  it('a file is no folder', async () => {
    await expect(diffusersTeacher(at('unet', 'diffusion_pytorch_model.safetensors')).load()).rejects.toThrow('expected a diffusers folder');
  });

  function folderName() {
    return folder;
  }
});

function cut(path: string): void {
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.subarray(0, bytes.length >> 1));
}

function widen(path: string): void {
  const config = JSON.parse(readFileSync(path, 'utf8')) as { block_out_channels: number[] };
  writeFileSync(path, JSON.stringify({ ...config, block_out_channels: config.block_out_channels.map((width) => 2 * width) }));
}

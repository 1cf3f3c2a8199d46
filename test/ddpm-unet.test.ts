/** DDPM networks of diffusers folders against PyTorch (test/tools/ddpm_unet.py), on every engine that this machine has. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { valueAndGradients } from '../src/core/autodiff/index.js';
import { PhiloxRandom } from '../src/core/random.js';
import { parseSafetensors } from '../src/core/safetensors.js';
import type { DdpmUNetConfig } from '../src/models/backbones/backbone.js';
import { createBackbone, resolveBackboneConfig, type BackboneOptions } from '../src/models/backbones/config.js';
import { DdpmSchedule } from '../src/models/backbones/ddpm-schedule.js';
import { timestepEmbedding, type DdpmUNet } from '../src/models/backbones/ddpm-unet.js';
import { TeacherEncoder } from '../src/models/features/teacher-encoder.js';
import { freezeConvolutions } from '../src/models/freeze/policies.js';
import { summarizeFreeze } from '../src/models/freeze/summary.js';
import { denoise, edmPreconditioning, generateOneStep } from '../src/models/preconditioning.js';
import { edmSigmas, sampleHeun } from '../src/models/samplers/edm.js';
import { diffusersTeacher } from '../src/models/teachers/diffusers-teacher.js';
import { safetensorsTeacher, saveBackbone } from '../src/models/teachers/safetensors-teacher.js';
import { Adam, distill, distributional, encoderDiscriminator, loadStudent, r1, type Student } from '../src/index.js';
import { engines, useEngine } from './support/engines.js';
import { goldenJson, goldenPath, goldenTensor, openGolden } from './support/golden.js';
import { tinyRun } from './support/tiny.js';

interface Golden {
  parameters: number;
  gradient_norms: Record<string, number>;
  sigmas: Record<string, number>;
}

const names = ['ddpm-unet', 'ddpm-unet-v'];

/** google/ddpm-cifar10-32 as its published config.json describes it. */
const cifar10: BackboneOptions = {
  model_type: 'DdpmUNet',
  img_resolution: 32,
  block_out_channels: [128, 256, 256, 256],
  down_block_types: ['DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D'],
  up_block_types: ['UpBlock2D', 'UpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'],
  attention_head_dim: null,
  downsample_padding: 0,
  flip_sin_to_cos: false,
  freq_shift: 1,
  norm_eps: 1e-6,
};

describe('google/ddpm-cifar10-32', () => {
  const network = createBackbone(cifar10);
  const shapes = new Map(network.parameters().map(({ name, shape }) => [name, shape]));

  it('has its published number of parameters, described and not allocated', () => {
    expect(network.parameterCount()).toBe(35_746_307);
    expect(network.tensors().some(({ allocated }) => allocated)).toBe(false);
  });

  it('has its published names and shapes', () => {
    expect(shapes.get('conv_in.weight')).toEqual([128, 3, 3, 3]);
    expect(shapes.get('time_embedding.linear_1.weight')).toEqual([512, 128]);
    expect(shapes.get('down_blocks.1.resnets.0.conv_shortcut.weight')).toEqual([256, 128, 1, 1]);
    expect(shapes.get('down_blocks.1.attentions.1.to_out.0.weight')).toEqual([256, 256]);
    expect(shapes.get('down_blocks.2.downsamplers.0.conv.weight')).toEqual([256, 256, 3, 3]);
    expect(shapes.get('mid_block.attentions.0.group_norm.bias')).toEqual([256]);
    expect(shapes.get('up_blocks.3.resnets.0.conv1.weight')).toEqual([128, 384, 3, 3]);
    expect(shapes.get('up_blocks.3.resnets.2.conv1.weight')).toEqual([128, 256, 3, 3]);
    expect(shapes.get('up_blocks.2.attentions.2.to_q.bias')).toEqual([256]);
    expect(shapes.get('conv_norm_out.weight')).toEqual([128]);
    for (const absent of [
      'down_blocks.3.downsamplers.0.conv.weight',
      'up_blocks.3.upsamplers.0.conv.weight',
      'down_blocks.0.attentions.0.to_q.weight',
    ])
      expect(shapes.has(absent)).toBe(false);
  });

  it('has the encoder stages of its down blocks', () => {
    expect(network.stages.map(({ name, resolution, channels }) => `${name} ${resolution} ${channels}`)).toEqual([
      'conv_in 32 128',
      'down_blocks.0.resnets.0 32 128',
      'down_blocks.0.resnets.1 32 128',
      'down_blocks.0.downsamplers.0 16 128',
      'down_blocks.1.resnets.0 16 256',
      'down_blocks.1.resnets.1 16 256',
      'down_blocks.1.downsamplers.0 8 256',
      'down_blocks.2.resnets.0 8 256',
      'down_blocks.2.resnets.1 8 256',
      'down_blocks.2.downsamplers.0 4 256',
      'down_blocks.3.resnets.0 4 256',
      'down_blocks.3.resnets.1 4 256',
    ]);
  });

  it('freezes its convolutions as those of EDM networks', () => {
    const frozen = (level: 0 | 1 | 2 | 3) => {
      const policy = freezeConvolutions({ level });
      return network.parameters().filter((parameter) => !policy.trains(parameter));
    };
    // By hand, from the published names: level 2 adds q, k and v, level 3 the shortcuts; nothing else is ever frozen.
    const matching = (pattern: RegExp) => network.parameters().filter(({ name }) => pattern.test(name));
    const convolutions = /(conv[12]|(down|up)samplers\.0\.conv|to_out\.0)\.(weight|bias)$/;
    expect(frozen(0)).toEqual([]);
    expect(frozen(1)).toEqual(matching(convolutions));
    expect(frozen(2)).toEqual(matching(new RegExp(`to_[qkv]\\.|${convolutions.source}`)));
    expect(frozen(3)).toEqual(matching(new RegExp(`conv_shortcut|to_[qkv]\\.|${convolutions.source}`)));
    expect(summarizeFreeze(network.parameters(), freezeConvolutions()).frozenShare).toBeGreaterThan(0.8);
  });

  it('its time embedding is that of PyTorch, within the rounding of its phases', () => {
    const embedding = timestepEmbedding(999, 128, { flip_sin_to_cos: false, freq_shift: 1 });
    expect(embedding.slice(0, 4)).toBeAllclose([-0.02646075, 0.72671592, -0.92156571, -0.27180085], { rtol: 0, atol: 6e-5 });
    expect(embedding[64 + 5]).toBeCloseTo(-0.95764011, 4);
    expect(embedding[63]).toBeCloseTo(Math.sin(0.0999), 12);
    const flipped = timestepEmbedding(999, 128, { flip_sin_to_cos: true, freq_shift: 1 });
    expect(flipped).toEqual([...embedding.slice(64), ...embedding.slice(0, 64)]);
    expect(timestepEmbedding(999, 128, { flip_sin_to_cos: false, freq_shift: 0 })[63]).toBeCloseTo(Math.sin(999 * 10000 ** (-63 / 64)), 12);
  });

  it('its schedule covers the sampler, and a step is exact at its own level', () => {
    const schedule = (network as DdpmUNet).schedule;
    const { sigmas } = goldenJson<Golden>('ddpm-unet/golden.json');
    for (const [step, sigma] of Object.entries(sigmas)) expect(schedule.sigmas[Number(step)]).toBeCloseTo(sigma, 10);
    expect(schedule.sigmas.at(-1)).toBeGreaterThan(157);
    schedule.sigmas.forEach((sigma, step) => expect(schedule.level(Math.fround(Math.log(sigma) / 4))).toEqual({ sigma, timestep: step }));
    const between = Math.sqrt(schedule.sigmas[700]! * schedule.sigmas[701]!);
    expect(schedule.level(Math.log(between) / 4).timestep).toBeCloseTo(700.5, 6);
    expect(schedule.level(Math.log(0.002) / 4)).toMatchObject({ timestep: 0, sigma: expect.closeTo(0.002, 12) as number });
    expect(schedule.level(Math.log(1000) / 4).timestep).toBe(999);
    expect(schedule.level(Math.log(80) / 4).timestep).toBeGreaterThan(900);
  });
});

describe('the change of coordinates', () => {
  it.each(['epsilon', 'v_prediction', 'sample'] as const)('of %s gives the image where the network is right', (prediction_type) => {
    const { scheduler } = resolveBackboneConfig({ ...cifar10, scheduler: { prediction_type } }) as DdpmUNetConfig;
    const schedule = new DdpmSchedule(scheduler);
    for (const sigma of [0.002, 0.3, 80]) {
      const [image, noise] = [0.7, -1.3];
      const x = image + sigma * noise;
      const abar = 1 / (1 + sigma ** 2);
      const xt = Math.sqrt(abar) * image + Math.sqrt(1 - abar) * noise;
      const output = { epsilon: noise, v_prediction: Math.sqrt(abar) * noise - Math.sqrt(1 - abar) * image, sample: image }[
        prediction_type
      ];
      const { in: cIn, skip, out } = edmPreconditioning().coefficients(sigma);
      const { scale, difference, both } = schedule.coefficients(sigma);
      expect(scale * cIn * x).toBeCloseTo(xt, 12);
      expect(skip * x + out * (difference * (cIn * x - output) + both * output)).toBeCloseTo(image, 9);
    }
  });

  it('knows the schedules of diffusers', () => {
    const levels = (scheduler: DdpmUNetConfig['scheduler']) => new DdpmSchedule(scheduler).sigmas;
    const common = { num_train_timesteps: 1000, beta_start: 0.00085, beta_end: 0.012, prediction_type: 'epsilon' as const };
    // Stable Diffusion's largest level is known: 14.6146.
    expect(levels({ ...common, beta_schedule: 'scaled_linear' }).at(-1)).toBeCloseTo(14.6146, 4);
    // abar of the cosine schedule is cos^2 itself until beta is cut off: at half time cos^2((0.5 + 0.008) / 1.008 * pi / 2) over that at 0.
    const cosine = (s: number) => Math.cos((((s + 0.008) / 1.008) * Math.PI) / 2) ** 2;
    const abar = cosine(0.5) / cosine(0);
    expect(levels({ ...common, beta_schedule: 'squaredcos_cap_v2' })[499]).toBeCloseTo(Math.sqrt((1 - abar) / abar), 10);
  });
});

it('says everything that does not fit in a configuration at once', () => {
  const wrong = () =>
    createBackbone({
      ...cifar10,
      img_resolution: 20,
      norm_num_groups: 24,
      attention_head_dim: 48,
      up_block_types: ['UpBlock2D'],
      freq_shift: 64,
    });
  for (const path of ['img_resolution', 'norm_num_groups', 'attention_head_dim', 'up_block_types', 'freq_shift'])
    expect(wrong).toThrow(`- ${path}: `);
  expect(() => createBackbone({ ...cifar10, class_embed_type: 'timestep' } as BackboneOptions)).toThrow('class_embed_type');
});

describe.each(engines)('DDPM networks on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  describe.each(names)('%s', (name) => {
    const golden = goldenJson<Golden>(`${name}/golden.json`);
    let network: DdpmUNet;
    const io: Record<string, tf.Tensor> = {};

    beforeAll(async () => {
      const file = await openGolden(`${name}/io.safetensors`);
      for (const key of file.tensors.keys()) io[key] = await goldenTensor(file, key);
      network = (await diffusersTeacher(goldenPath(name)).load()).backbone as DdpmUNet;
    });
    afterAll(() => {
      network.dispose();
      tf.dispose(io);
    });
    const sigmas = async () => Array.from((await (await openGolden(`${name}/io.safetensors`)).read('sigma')) as Float64Array);

    it('gives the output of PyTorch at its steps', () => {
      expect(network.parameterCount()).toBe(golden.parameters);
      const output = network.predict(io['x_t'] as tf.Tensor4D, [...io['timesteps']!.dataSync()]);
      expect(output.dataSync()).toBeCloseInL2(io['output']!.dataSync(), 1e-5);
    });

    it('D(x, sigma) at steps, between and below them, with its gradient for the image and for every parameter', async () => {
      const x = io['x'] as tf.Tensor4D;
      const parameters = network.parameters();
      const levels = await sigmas();
      const before = tf.memory().numTensors;
      let output: tf.Tensor | undefined;
      const { gradients } = valueAndGradients(() => {
        output = tf.keep(denoise(network, edmPreconditioning(), x, levels));
        return tf.sum(tf.mul(output, io['cotangent']!));
      }, [x, ...parameters.map(({ value }) => value)]);
      const rows = (values: ArrayLike<number>, i: number) => {
        const size = values.length / levels.length;
        return Array.from({ length: size }, (_, k) => values[i * size + k]!);
      };
      // Row by row: the largest noise level would hide the others.
      const [actual, expected] = [output!.dataSync(), io['denoised']!.dataSync()];
      const [gradient, expectedGradient] = [gradients[0]!.dataSync(), io['x_grad']!.dataSync()];
      levels.forEach((_, i) => {
        expect(rows(actual, i)).toBeCloseInL2(rows(expected, i), 1e-5);
        expect(rows(gradient, i)).toBeCloseInL2(rows(expectedGradient, i), 1e-4);
      });
      const norms = gradients.slice(1).map((values) => Math.sqrt(values.dataSync<'float32'>().reduce((sum, value) => sum + value ** 2, 0)));
      expect(norms).toBeAllclose(
        parameters.map((parameter) => golden.gradient_norms[parameter.name]!),
        { rtol: 1e-4, atol: 1e-4 },
      );
      tf.dispose([gradients, output!]);
      expect(tf.memory().numTensors).toBeLessThanOrEqual(before + 1);
    });

    it('the sampler and the one-step generator run on it and leave no tensor', () => {
      const { img_resolution: size, img_channels: channels } = network.config;
      const latents = tf.randomNormal<tf.Rank.R4>([2, size, size, channels], 0, 1, 'float32', 1);
      const before = tf.memory().numTensors;
      const sample = sampleHeun(network, latents, { steps: 3 });
      // The same steps of Heun's method, with D written out from the network's own output.
      const { prediction_type } = network.config.scheduler;
      const direct = (x: tf.Tensor, sigma: number) => {
        const { timestep } = network.schedule.level(Math.log(sigma) / 4);
        const output = network.predict(tf.div(x, Math.sqrt(1 + sigma ** 2)), [timestep, timestep]);
        return prediction_type === 'epsilon'
          ? tf.sub(x, tf.mul(output, sigma))
          : tf.sub(tf.div(x, 1 + sigma ** 2), tf.mul(output, sigma / Math.sqrt(1 + sigma ** 2)));
      };
      const expected = tf.tidy(() => {
        const [first, second, third] = edmSigmas({ steps: 3 }) as [number, number, number, number];
        let x: tf.Tensor = tf.mul(latents, first);
        for (const [now, next] of [
          [first, second],
          [second, third],
        ] as const) {
          const slope = tf.div(tf.sub(x, direct(x, now)), now);
          const euler = tf.add(x, tf.mul(slope, next - now));
          x = tf.add(x, tf.mul(tf.add(slope, tf.div(tf.sub(euler, direct(euler, next)), next)), (next - now) / 2));
        }
        return direct(x, third);
      });
      expect(sample.dataSync()).toBeCloseInL2(expected.dataSync(), 1e-4);
      const image = generateOneStep(network, latents);
      expect(image.shape).toEqual(latents.shape);
      expect(image.dataSync().every(Number.isFinite)).toBe(true);
      tf.dispose([sample, expected, image]);
      expect(tf.memory().numTensors).toBe(before);
      latents.dispose();
    });

    it('what it saves has the published names and loads again bit by bit, with its configuration', async () => {
      const directory = mkdtempSync(join(tmpdir(), 'onestep-'));
      const path = join(directory, 'student.safetensors');
      await saveBackbone(path, network);
      const file = parseSafetensors(readFileSync(path));
      expect([...file.tensors.keys()].sort()).toEqual(Object.keys(golden.gradient_norms).sort());
      expect(await safetensorsTeacher(path).describe()).toEqual(network.config);
      const { backbone } = await safetensorsTeacher(path).load();
      backbone.parameters().forEach((parameter, i) => expect(parameter.read()).toEqual(network.parameters()[i]!.read()));
      backbone.dispose();
      rmSync(directory, { recursive: true });
    });

    it('is an encoder of features: the last stage of each resolution', () => {
      const encoder = new TeacherEncoder(network, { sigmas: [0.5, 2] });
      const { img_resolution: size, img_channels: channels } = network.config;
      const images = tf.zeros<tf.Rank.R4>([4, size, size, channels]);
      const features = encoder.features(images, { random: new PhiloxRandom(3) });
      expect(features.map(({ shape }) => shape)).toEqual(
        encoder.stages.map(({ resolution, channels: width }) => [4, resolution, resolution, width]),
      );
      expect(encoder.stages.map((stage) => stage.name)).toEqual(
        network.config.block_out_channels.map((_, level) => `down_blocks.${level}.resnets.${network.config.layers_per_block - 1}`),
      );
      tf.dispose([features, images]);
    });
  });

  it("makes the image that diffusers' own test of its DDIM pipeline expects", async () => {
    const { backbone } = await diffusersTeacher(goldenPath('ddpm-unet-published')).load();
    const network = backbone as DdpmUNet;
    const latents = await goldenTensor(await openGolden('ddpm-unet-published/io.safetensors'), 'latents');
    const { sigmas } = network.schedule;
    // DDIM (Song et al. 2021, eq. 12, eta 0) at the steps 500 and 0; the image is clipped in every step, and at last.
    const image = tf.tidy(() => {
      let x = latents;
      for (const [step, next] of [
        [500, sigmas[0]!],
        [0, 0],
      ] as const) {
        const noise = network.predict(x as tf.Tensor4D, [step]);
        const abar = 1 / (1 + sigmas[step]! ** 2);
        const clipped = tf.clipByValue(tf.div(tf.sub(x, tf.mul(noise, Math.sqrt(1 - abar))), Math.sqrt(abar)), -1, 1);
        x = tf.div(tf.add(clipped, tf.mul(noise, next)), Math.sqrt(1 + next ** 2));
      }
      return tf.clipByValue(tf.add(tf.div(x, 2), 0.5), 0, 1);
    });
    // Last three rows and columns of the last channel: tests/pipelines/ddim/test_ddim.py of diffusers, which allows 1e-3.
    const corner = tf.tidy(() => tf.slice(image, [0, 5, 5, 2], [1, 3, 3, 1]).dataSync());
    expect(corner).toBeAllclose([0, 0.9979, 0, 0.9999, 0.9986, 0.9991, 7.106e-4, 0, 0], { rtol: 0, atol: 1e-3 });
    network.dispose();
    tf.dispose([image, latents]);
  });

  it('is distilled: convolutions stay, the rest trains, and the student loads again', async () => {
    const loader = diffusersTeacher(goldenPath('ddpm-unet'));
    const run = distill(
      tinyRun({
        teacher: loader,
        freeze: freezeConvolutions(),
        loss: distributional({
          discriminator: encoderDiscriminator({ sigmas: [0.5], stages: ['down_blocks.0.resnets.0', 'down_blocks.1.resnets.0'], end: 4 }),
          regularizers: [r1({ gamma: 0.1, every: 2 })],
          optimizer: new Adam({ learningRate: 1e-3 }),
        }),
        images: 32,
      }),
    );
    const { student } = await run.completed;
    const { backbone: teacher } = await loader.load();
    const changed = student.backbone.parameters().filter((parameter, i) => {
      const before = teacher.parameters()[i]!.read();
      return parameter.read().some((value, k) => value !== before[k]);
    });
    const roles = new Set(changed.map(({ role }) => role));
    expect([...roles].sort()).toEqual(['affine', 'input', 'mapping', 'norm', 'output', 'qkv', 'skip']);
    const directory = mkdtempSync(join(tmpdir(), 'onestep-'));
    await student.save(join(directory, 'student.safetensors'));
    const again = await loadStudent(join(directory, 'student.safetensors'));
    const images = (from: Student) => from.generate({ count: 4, seed: 5 }).images;
    expect(images(again)).toEqual(images(student));
    rmSync(directory, { recursive: true });
    for (const owner of [again, student, teacher]) owner.dispose();
  });
});

/** The five golden networks and the Heun sampler, on every engine that this machine has. */
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { valueAndGradients } from '../src/core/autodiff/index.js';
import { createBackbone, type BackboneOptions } from '../src/models/backbones/config.js';
import type { Backbone } from '../src/models/backbones/backbone.js';
import { freezeConvolutions } from '../src/models/freeze/policies.js';
import { applyFreezePolicy } from '../src/models/freeze/summary.js';
import { denoise, edmPreconditioning, generateOneStep } from '../src/models/preconditioning.js';
import { edmSigmas, sampleHeun } from '../src/models/samplers/edm.js';
import { safetensorsTeacher } from '../src/models/teachers/safetensors-teacher.js';
import { engines, useEngine } from './support/engines.js';
import { goldenJson, goldenPath, goldenTensor, openGolden } from './support/golden.js';

interface GoldenNetwork {
  config: BackboneOptions;
  parameters: number;
  gradient_norms: Record<string, number>;
  freeze: Record<string, { frozen: string[]; frozen_parameters: number }>;
}

const names = ['ncsnpp', 'ncsnpp-cond-augment', 'ddpmpp', 'song-skip', 'adm'];

describe.each(engines)('golden networks on %s', (engine) => {
  beforeAll(() => useEngine(engine));

  describe.each(names)('%s', (name) => {
    const golden = goldenJson<GoldenNetwork>(`${name}.json`);
    let network: Backbone;
    const io: Record<string, tf.Tensor> = {};

    beforeAll(async () => {
      const file = await openGolden(`${name}.io.safetensors`);
      for (const key of file.tensors.keys()) io[key] = await goldenTensor(file, key);
      network = (await safetensorsTeacher(goldenPath(`${name}.weights.safetensors`), { config: golden.config }).load()).backbone;
    });
    afterAll(() => {
      network.dispose();
      tf.dispose(io);
    });

    const inputs = () => ({ classLabels: io['class_labels'] as tf.Tensor2D, augmentLabels: io['augment_labels'] as tf.Tensor2D });

    it('has the published number of parameters and freezes the published ones', () => {
      expect(network.parameterCount()).toBe(golden.parameters);
      for (const level of [0, 1, 2, 3] as const) {
        applyFreezePolicy(network.parameters(), freezeConvolutions({ level }));
        const frozen = network.parameters().filter(({ trainable }) => !trainable);
        expect(frozen.map((parameter) => parameter.name).sort()).toEqual([...golden.freeze[level]!.frozen].sort());
      }
    });

    it('infers its architecture from names and shapes', async () => {
      const inferred = await safetensorsTeacher(goldenPath(`${name}.weights.safetensors`)).describe();
      expect(inferred).toEqual({ ...createBackbone(golden.config).config, dropout: 0 });
    });

    it('F(x, ln(sigma) / 4)', () => {
      const noise = tf.div(tf.log(io['sigma']!), 4) as tf.Tensor1D;
      const output = network.forward(io['x'] as tf.Tensor4D, noise, inputs());
      expect(output.dataSync()).toBeCloseInL2(io['raw_output']!.dataSync(), 1e-5);
    });

    it('G(80 z, 80)', () => {
      const output = generateOneStep(network, io['latent'] as tf.Tensor4D, { classLabels: inputs().classLabels });
      expect(output.dataSync()).toBeCloseInL2(io['one_step_output']!.dataSync(), 1e-5);
    });

    it('D(x, sigma) with its gradient for the image and for every parameter', () => {
      const x = io['edm_input'] as tf.Tensor4D;
      const parameters = network.parameters();
      const before = tf.memory().numTensors;
      let output: tf.Tensor | undefined;
      const { gradients } = valueAndGradients(() => {
        output = denoise(network, edmPreconditioning(), x, io['sigma']!.dataSync(), inputs());
        tf.keep(output);
        return tf.sum(tf.mul(output, io['cotangent']!));
      }, [x, ...parameters.map(({ value }) => value)]);
      expect(output!.dataSync()).toBeCloseInL2(io['edm_output']!.dataSync(), 1e-5);
      expect(gradients[0]!.dataSync()).toBeCloseInL2(io['edm_input_grad']!.dataSync(), 1e-4);
      const norms = gradients
        .slice(1)
        .map((gradient) => Math.sqrt(gradient.dataSync<'float32'>().reduce((sum, value) => sum + value ** 2, 0)));
      const expected = parameters.map((parameter) => golden.gradient_norms[parameter.name]!);
      expect(norms).toBeAllclose(expected, { rtol: 1e-4, atol: 1e-4 });
      tf.dispose([gradients, output!]);
      expect(tf.memory().numTensors).toBeLessThanOrEqual(before + 1);
    });
  });

  it('EDM Heun sampling, 6 steps', async () => {
    const file = await openGolden('sampler-heun-6.safetensors');
    const { backbone } = await safetensorsTeacher(goldenPath('ncsnpp.weights.safetensors')).load();
    const before = tf.memory().numTensors;
    const latents = (await goldenTensor(file, 'latent')) as tf.Tensor4D;
    expect(edmSigmas({ steps: 6 })).toBeAllclose(await file.readAsFloat32('sigmas'), { rtol: 1e-6 });
    const sample = sampleHeun(backbone, latents, { steps: 6 });
    const expected = await goldenTensor(file, 'sample');
    expect(sample.dataSync()).toBeCloseInL2(expected.dataSync(), 1e-5);
    backbone.dispose();
    expect(before).toBeGreaterThan(0);
  });
});

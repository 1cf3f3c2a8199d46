/**
 * Parity of EDM's Heun sampler.
 */
import { basename } from 'node:path';
import { readSafetensors } from '../../core/safetensors.js';
import * as tf from '@tensorflow/tfjs-core';
import type { Backbone } from '../../models/backbones/backbone.js';
import { edmSigmas, sampleHeun, type EdmSchedule } from '../../models/samplers/edm.js';
import { expectShape, goldenArray, imageTensor, publishedImage, type GoldenArray, type GoldenFiles } from './golden-directory.js';
import { loadNetwork } from './network.js';
import { absent, computed, relativeError, TOLERANCES, verdict, within, type Outcome, type Report } from './report.js';

/** The network of the published samples; another one is tried where it does not fit. */
const USUAL = 'ncsnpp';

/** Runs the checks of one file of samples with those of `networks` that it fits. */
export async function checkSampler(report: Report, path: string, networks: readonly GoldenFiles[]): Promise<void> {
  const subject = basename(path, '.safetensors');
  const arrays = new Map<string, GoldenArray>();
  const read = await report.check(subject, 'inputs and outputs', async () => {
    const file = await readSafetensors(path);
    for (const name of file.tensors.keys()) arrays.set(name, (await goldenArray(file, name))!);
    for (const name of ['latent', 'sample', 'sigmas']) if (!arrays.has(name)) return absent(name);
    expectShape(arrays.get('latent')!, [undefined, undefined, undefined, undefined]);
    expectShape(arrays.get('sample')!, arrays.get('latent')!.shape);
    expectShape(arrays.get('sigmas')!, [undefined]);
    return verdict(undefined, `${arrays.get('sigmas')!.data.length - 1} steps`);
  });
  if (!read) return;

  const sigmas = arrays.get('sigmas')!.data;
  const schedule: EdmSchedule = { steps: sigmas.length - 1, sigmaMax: sigmas[0]!, sigmaMin: sigmas.at(-2)! };
  await report.check(subject, 'noise levels', () => within(relativeError(edmSigmas(schedule), sigmas), TOLERANCES.output));
  await report.check(subject, 'samples', async () => {
    let best: Outcome = absent(`a network for latents [${arrays.get('latent')!.shape.join(', ')}]`);
    for (const files of inOrder(networks, subject)) {
      const outcome = await trial(files, arrays, schedule);
      if (outcome?.status === 'ok') return outcome;
      if (outcome && !(best.error! <= outcome.error!)) best = outcome;
    }
    return best;
  });
}

/** Networks whose name the file carries first, then the usual one. */
const inOrder = (networks: readonly GoldenFiles[], subject: string): GoldenFiles[] => {
  const rank = ({ name }: GoldenFiles) => (subject.includes(name) ? 0 : name === USUAL ? 1 : 2);
  return [...networks].sort((a, b) => rank(a) - rank(b));
};

/** Samples with one network; undefined where it does not load or the latents are not its own. */
async function trial(files: GoldenFiles, arrays: ReadonlyMap<string, GoldenArray>, schedule: EdmSchedule): Promise<Outcome | undefined> {
  const [latent, expected, labels] = [arrays.get('latent')!, arrays.get('sample')!, arrays.get('class_labels')];
  let network: Backbone | undefined;
  try {
    network = await loadNetwork(
      files,
      ({ img_channels, img_resolution }) => latent.shape.slice(1).join() === [img_channels, img_resolution, img_resolution].join(),
    );
  } catch {
    return undefined; // The network's own checks say what is wrong with it.
  }
  if (!network) return undefined;
  try {
    return computed(() => {
      if (labels) expectShape(labels, [latent.shape[0], network!.config.label_dim]);
      const inputs = { classLabels: labels && tf.tensor2d(labels.data, labels.shape as [number, number]) };
      const sample = sampleHeun(network!, imageTensor(latent), { ...schedule, inputs });
      return within(relativeError(publishedImage(sample), expected.data), TOLERANCES.output, `network ${files.name}`);
    });
  } finally {
    network.dispose();
  }
}

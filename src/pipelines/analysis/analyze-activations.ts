/**
 * The activation of a denoiser's layers across noise levels, and the spectrum of what it makes of them (GDD, arXiv 2405.20750: a diffusion
 * model's layers are activated to different degrees at different noise levels, and freezing most of them keeps what they can do in one step).
 */
import * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import type { DataSource, ImageBatch } from '../../core/contracts/data.js';
import type { ParameterRole } from '../../core/contracts/parameter.js';
import { ConfigError, RunError } from '../../core/errors.js';
import { parseOptions } from '../../core/options.js';
import { normalAt } from '../../core/random.js';
import { oneHot, toFloat } from '../../data/images.js';
import { permutation } from '../../data/permutation.js';
import { RadialSpectrum, type SpectrumCurve } from '../../metrics/radial-spectrum.js';
import type { Backbone } from '../../models/backbones/backbone.js';
import type { Module } from '../../models/nn/module.js';
import { denoise, edmPreconditioning, type Preconditioning } from '../../models/preconditioning.js';
import { checkFit } from '../check-fit.js';
import { ActivationRecorder, type LayerPlace } from './activation-recorder.js';

/** A network to look into. */
export interface AnalysedNetwork {
  /** For tables and pictures, such as `teacher` or `student (GDD-I)`. */
  name: string;
  /** Stays the caller's: it is neither changed nor disposed. */
  backbone: Backbone;
  /** Makes the denoiser D of it; default EDM's. A student's is `gddPreconditioning()`. */
  preconditioning?: Preconditioning;
}

const WHERE = 'analyzeActivations';
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

const schema = z.strictObject({
  /** The networks, all of one architecture; the first is what the others are compared with, so the teacher. */
  networks: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        backbone: z.custom<Backbone>((value) => isObject(value) && 'forward' in value && 'config' in value, 'expected a network'),
        preconditioning: z
          .custom<Preconditioning>((value) => isObject(value) && 'coefficients' in value, 'expected a preconditioning')
          .optional(),
      }),
    )
    .min(1)
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'expected names that differ'),
  /** Real images of the networks' size; opened here, and closed at the end. */
  data: z.custom<DataSource>((value) => isObject(value) && 'open' in value && 'read' in value, 'expected a data source'),
  /** Noise levels, rising. */
  sigmas: z
    .array(z.number().positive())
    .min(1)
    .refine((all) => all.every((sigma, k) => k === 0 || sigma > all[k - 1]!), 'expected noise levels that rise, each once')
    .default([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 80]),
  /** Images at every noise level, the same ones with the same noise for each level and network. */
  images: z.number().int().positive().default(128),
  /** Chooses the images and their noise. */
  seed: z.number().int().min(0).default(0),
  /** Images in one forward pass; changes no result but in rounding. */
  batchSize: z.number().int().positive().default(32),
  /** Forward passes over one image each, done and in all, after every batch. */
  onProgress: z.custom<(done: number, total: number) => void>((value) => typeof value === 'function', 'expected a function').optional(),
  /** Ends the analysis before the next forward pass, with the signal's reason. */
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'expected an AbortSignal').optional(),
});

/** Options of `analyzeActivations`. @interface */
export type ActivationOptions = z.input<typeof schema>;

/** One layer or block over the noise levels; each list has a value for each of them. */
export interface LayerActivations extends LayerPlace {
  rms: number[];
  meanAbsolute: number[];
  /** Of blocks alone. */
  contribution?: number[];
  /** Whether weights and biases are the first network's, bit for bit, as frozen ones are; of a block: of all its convolutions. */
  unchanged: boolean;
}

/** A spectrum as plain numbers: cycles per pixel, and power as `RadialSpectrum` defines it. */
export interface PlainSpectrum {
  frequencies: number[];
  power: number[];
}

/** What was seen in one network. */
export interface NetworkActivations {
  name: string;
  /** In the order of computation; the same names for every network. */
  layers: LayerActivations[];
  /** Of the outputs D(y + sigma n, sigma), at each noise level. */
  spectra: PlainSpectrum[];
  /** mean (D(y + sigma n, sigma) - y)² at each noise level: how well it denoises. */
  denoisingError: number[];
}

/** The result of `analyzeActivations`: plain values, fit for JSON. */
export interface ActivationAnalysis {
  data: string;
  images: number;
  seed: number;
  sigmas: number[];
  networks: NetworkActivations[];
  /** The spectrum of the images y. */
  real: PlainSpectrum;
}

/**
 * Records, layer by layer, how strongly networks are activated at every noise level, and the spectra of their outputs.
 *
 * Each network sees x = y + sigma n of the same images y and the same standard normal n. A layer's activation is the root mean square (and the
 * mean magnitude) of its output over images, pixels and channels, with its bias and before the norm that follows; a block's contribution is the
 * root mean square of its residual branch over that of what the branch is added to. Sums are kept in float64, images are read batch by batch,
 * and no tensor is left.
 *
 * @throws ConfigError for wrong options, data that does not fit the networks, and networks of different architectures;
 * RunError `E_RUN_NON_FINITE` where a network's output or a layer is not finite; the signal's reason.
 */
export async function analyzeActivations(options: ActivationOptions): Promise<ActivationAnalysis> {
  const { networks, data, sigmas, images, seed, batchSize, onProgress, signal } = parseOptions(schema, options, WHERE);
  checkArchitectures(networks);
  try {
    const description = await data.open();
    for (const { name, backbone } of networks) checkFit(WHERE, name, backbone.config, description);
    if (images > description.size)
      throw new ConfigError(WHERE, [`images: expected at most the ${description.size} of ${description.name}, got ${images}`]);
    const size = { height: description.resolution, width: description.resolution, channels: description.channels };
    const real = new RadialSpectrum(size);
    const seen = networks.map(() =>
      sigmas.map(() => ({ recorder: new ActivationRecorder(), spectrum: new RadialSpectrum(size), squares: 0 })),
    );

    const shuffled = permutation(description.size, seed);
    const total = images * sigmas.length * networks.length;
    let done = 0;
    for (let first = 0; first < images; first += batchSize) {
      const indices = Uint32Array.from({ length: Math.min(batchSize, images - first) }, (_, k) => shuffled(first + k));
      const batch = await data.read(indices, signal);
      const clean = toFloat(batch.images);
      real.add(clean, batch.shape);
      const noise = noiseOf(seed, first, batch.shape);
      for (const [n, { name, backbone, preconditioning = edmPreconditioning() }] of networks.entries())
        for (const [s, sigma] of sigmas.entries()) {
          signal?.throwIfAborted();
          const { recorder, spectrum } = seen[n]![s]!;
          const output = recorder.record(indices.length, () =>
            denoise(backbone, preconditioning, noisy(clean, noise, sigma, batch.shape), sigma, { classLabels: labelsOf(backbone, batch) }),
          );
          if (!output.every(Number.isFinite)) throw notFinite(`the output of ${name} at sigma ${sigma}`);
          spectrum.add(output, batch.shape);
          let squares = 0;
          for (let k = 0; k < output.length; k++) squares += (output[k]! - clean[k]!) ** 2;
          seen[n]![s]!.squares += squares;
          done += indices.length;
          onProgress?.(done, total);
          // Leave the event loop a turn: signals arrive there.
          await new Promise<void>((resolve) => setImmediate(resolve));
        }
    }

    const values = images * size.height * size.width * size.channels;
    return {
      data: description.name,
      images,
      seed,
      sigmas,
      networks: networks.map(({ name, backbone }, n) => ({
        name,
        layers: layersOf(seen[n]!, sigmas, name, unchangedLayers(networks[0]!.backbone, backbone)),
        spectra: seen[n]!.map(({ spectrum }) => plain(spectrum.result())),
        denoisingError: seen[n]!.map(({ squares }) => squares / values),
      })),
      real: plain(real.result()),
    };
  } finally {
    await data.close();
  }
}

function checkArchitectures(networks: readonly AnalysedNetwork[]): void {
  const names = ({ backbone }: AnalysedNetwork) => backbone.parameters().map(({ name, shape }) => `${name} [${shape.join(', ')}]`);
  const [first, ...others] = networks.map((network) => ({ name: network.name, parameters: names(network) }));
  const problems = others.flatMap(({ name, parameters }) => {
    const at = parameters.findIndex((parameter, k) => parameter !== first!.parameters[k]);
    if (at < 0 && parameters.length === first!.parameters.length) return [];
    const [expected, found] = [first!.parameters, parameters].map((all) => all[at < 0 ? parameters.length : at] ?? 'nothing more');
    return [`networks: expected the architecture of ${first!.name}, with ${expected}; found ${found} in ${name}`];
  });
  if (problems.length > 0)
    throw new ConfigError(WHERE, problems, { help: 'compare a teacher with its students; analyse other networks one by one' });
}

/** Standard normal values, image i of the analysis has those of `seed` and i. */
function noiseOf(seed: number, first: number, shape: ImageBatch['shape']): Float32Array {
  const [batch, height, width, channels] = shape;
  const size = height * width * channels;
  const values = new Float32Array(batch * size);
  for (let b = 0; b < batch; b++) values.set(normalAt(seed, first + b, size), b * size);
  return values;
}

const noisy = (clean: Float32Array, noise: Float32Array, sigma: number, shape: ImageBatch['shape']): tf.Tensor4D =>
  tf.tensor4d(
    clean.map((value, k) => value + sigma * noise[k]!),
    [...shape],
  );

function labelsOf({ config: { label_dim } }: Backbone, { labels }: ImageBatch): tf.Tensor2D | undefined {
  return label_dim > 0 && labels ? tf.tensor2d(oneHot(labels, label_dim), [labels.length, label_dim]) : undefined;
}

function layersOf(
  levels: readonly { recorder: ActivationRecorder }[],
  sigmas: readonly number[],
  name: string,
  unchanged: (layer: LayerPlace) => boolean,
): LayerActivations[] {
  const columns = levels.map(({ recorder }) => recorder.result());
  return columns[0]!.map(({ place, level }, k) => {
    const at = columns.map((column) => column[k]!.level);
    at.forEach(({ rms }, s) => {
      if (!Number.isFinite(rms)) throw notFinite(`the output of ${place.name} of ${name} at sigma ${sigmas[s]}`);
    });
    return {
      ...place,
      rms: at.map(({ rms }) => rms),
      meanAbsolute: at.map(({ meanAbsolute }) => meanAbsolute),
      ...(level.contribution !== undefined && { contribution: at.map(({ contribution }) => contribution!) }),
      unchanged: unchanged(place),
    };
  });
}

const notFinite = (what: string) =>
  new RunError('E_RUN_NON_FINITE', `${WHERE}: expected finite values, found others in ${what}`, {
    help: 'the network has diverged, or its weights are damaged',
  });

/** Which layers have the first network's weights and biases; a block has them where its own convolutions all do. */
function unchangedLayers(first: Module, network: Module): (layer: LayerPlace) => boolean {
  const theirs = new Map(first.parameters().map((parameter) => [parameter.name, parameter]));
  const same = new Map(
    network.parameters().map((parameter) => {
      const other = theirs.get(parameter.name)!;
      return [parameter.name, parameter === other || sameValues(parameter.value, other.value)];
    }),
  );
  return ({ kind, name, block }) => {
    if (kind === 'layer') return same.get(`${name}.weight`) === true && same.get(`${name}.bias`) !== false;
    const inBlock = (...roles: ParameterRole[]) =>
      network.parameters().filter((parameter) => parameter.block === block && roles.includes(parameter.role));
    // A block's attention is a sum of its own, in DDPM's networks also a block.
    const convolutions = name === block ? inBlock('conv0', 'conv1', 'skip') : [];
    const own = convolutions.length > 0 ? convolutions : inBlock('qkv', 'proj');
    return own.every((parameter) => same.get(parameter.name));
  };
}

function sameValues(a: tf.Tensor, b: tf.Tensor): boolean {
  if (a === b) return true;
  const [left, right] = [a.dataSync<'float32'>(), b.dataSync<'float32'>()];
  return left.every((value, k) => Object.is(value, right[k]));
}

const plain = ({ frequencies, power }: SpectrumCurve): PlainSpectrum => ({ frequencies: [...frequencies], power: [...power] });

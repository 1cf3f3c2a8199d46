/** What the examples share: the quickstart's teacher network and its data. */
import { fileURLToPath } from 'node:url';
import { shapes, type BackboneOptions } from 'onestep';

/** NCSN++ at 16 px, about a million parameters: one halving, two blocks a level, attention at 8 px. */
export const backbone: BackboneOptions = {
  model_type: 'SongUNet',
  img_resolution: 16,
  model_channels: 32,
  channel_mult: [1, 2],
  num_blocks: 2,
  attn_resolutions: [8],
  dropout: 0,
  embedding_type: 'fourier',
  encoder_type: 'residual',
  channel_mult_noise: 2,
  resample_filter: [1, 3, 3, 1],
};

export const trainingSet = () => shapes({ resolution: 16, size: 1_000_000 });

export const evaluationSet = () => shapes({ resolution: 16, size: 1_000_000, split: 'evaluation' });

/** Weights that come with the package. */
export const asset = (name: string) => fileURLToPath(new URL(`../../assets/${name}`, import.meta.url));

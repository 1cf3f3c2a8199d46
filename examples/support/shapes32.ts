/** What the example at 32 px works on: a teacher small enough to be trained beside it, and its data. */
import { shapes, type BackboneOptions } from 'onestep';

/** NCSN++ at 32 px, 0.72 million parameters: two halvings, one block a level, attention at 8 px. */
export const backbone: BackboneOptions = {
  model_type: 'SongUNet',
  img_resolution: 32,
  model_channels: 24,
  channel_mult: [1, 2, 2],
  num_blocks: 1,
  attn_resolutions: [8],
  dropout: 0,
  embedding_type: 'fourier',
  encoder_type: 'residual',
  channel_mult_noise: 2,
  resample_filter: [1, 3, 3, 1],
};

export const trainingSet = () => shapes({ resolution: 32, size: 1_000_000 });

export const evaluationSet = () => shapes({ resolution: 32, size: 1_000_000, split: 'evaluation' });

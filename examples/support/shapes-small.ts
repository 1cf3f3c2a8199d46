/** What the examples on the `shapes` sets share: one family of small teachers, and two sets of different images. */
import { shapes, type BackboneOptions } from 'onestep';

/** NCSN++ of `model_channels` at `resolution` pixels; a level more for each factor of `channel_mult`, attention at 8 px. */
export const ncsnpp = (size: {
  resolution: number;
  model_channels: number;
  channel_mult: number[];
  num_blocks: number;
}): BackboneOptions => {
  const { resolution, ...rest } = size;
  return {
    model_type: 'SongUNet',
    img_resolution: resolution,
    ...rest,
    attn_resolutions: [8],
    dropout: 0,
    embedding_type: 'fourier',
    encoder_type: 'residual',
    channel_mult_noise: 2,
    resample_filter: [1, 3, 3, 1],
  };
};

/** A million shapes to train on, and a million others to score with. */
export const shapeSets = (resolution: number) => ({
  trainingSet: () => shapes({ resolution, size: 1_000_000 }),
  evaluationSet: () => shapes({ resolution, size: 1_000_000, split: 'evaluation' }),
});

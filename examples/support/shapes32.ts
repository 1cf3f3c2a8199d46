/** What the example at 32 px works on: a teacher small enough to be trained beside it, and its data. */
import { ncsnpp, shapeSets } from './shapes-small.js';

/** NCSN++ at 32 px, 0.72 million parameters: two halvings, one block a level. */
export const backbone = ncsnpp({ resolution: 32, model_channels: 24, channel_mult: [1, 2, 2], num_blocks: 1 });

export const { trainingSet, evaluationSet } = shapeSets(32);

/** What the examples share: the quickstart's teacher network and its data. */
import { fileURLToPath } from 'node:url';
import { ncsnpp, shapeSets } from './shapes-small.js';

/** NCSN++ at 16 px, about a million parameters: one halving, two blocks a level. */
export const backbone = ncsnpp({ resolution: 16, model_channels: 32, channel_mult: [1, 2], num_blocks: 2 });

export const { trainingSet, evaluationSet } = shapeSets(16);

/** Weights that come with the package. */
export const asset = (name: string) => fileURLToPath(new URL(`../../assets/${name}`, import.meta.url));

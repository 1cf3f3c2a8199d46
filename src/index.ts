/**
 * onestep: distil a pretrained diffusion model into a generator that makes an image in one network evaluation.
 *
 * Everything of every room, and the pipelines that assemble them.
 */
export * from './core/index.js';
export * from './data/index.js';
export * from './losses/index.js';
export * from './metrics/index.js';
export * from './models/index.js';
export * from './pipelines/index.js';
export * from './sinks/index.js';

export type * from './augmentation.js';
export type * from './data.js';
export type * from './evaluation.js';
export type * from './events.js';
export type * from './parameter.js';
export type * from './random.js';
export type * from './training.js';

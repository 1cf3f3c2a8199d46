import { activation } from './activation.js';
import { arithmetic } from './arithmetic.js';
import { convolution } from './convolution.js';
import { indexing } from './indexing.js';
import { matmul } from './matmul.js';
import { normalization } from './normalization.js';
import { pooling } from './pooling.js';
import { reduction } from './reduction.js';
import { resizing } from './resize.js';
import { shape } from './shape.js';

export type { Rule } from './rule.js';

/** Every differentiation rule of ours, by operation. */
export const rules = [
  ...arithmetic,
  ...activation,
  ...reduction,
  ...shape,
  ...indexing,
  ...matmul,
  ...convolution,
  ...pooling,
  ...resizing,
  ...normalization,
];

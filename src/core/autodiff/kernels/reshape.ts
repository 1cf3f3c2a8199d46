/** The stock kernel of `tensorflow` sends the shape as a tensor of its own, twice the work; a training step has hundreds. */
import { sharedReshape } from '../../native/reshape.js';
import { composed } from './kernel.js';

export const reshape = composed(
  'tensorflow',
  'Reshape',
  ({ x }, attrs, stock) => sharedReshape(x!, attrs.shape as number[]) ?? stock({ x: x! }, attrs),
);

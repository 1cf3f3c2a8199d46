export { hinge, nonSaturating, relativistic } from './adversarial.js';
export { combined, CombinedObjective, type WeightedObjective } from './combined.js';
export { denoisingLoss, denoisingOptions, type DenoisingOptions } from './denoising.js';
export {
  distributional,
  Distributional,
  noAugmentation,
  reduceLogits,
  reductions,
  type DistributionalOptions,
  type Reduction,
} from './distributional.js';
export { r1, r2, type GradientPenaltyOptions } from './regularizers.js';

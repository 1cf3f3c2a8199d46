export { installAutodiff } from './install.js';
export { gradients, valueAndGradients, vectorJacobianProduct } from './gradients.js';
export type { GradientOptions, ValueAndGradients } from './gradients.js';

export { resamplingWeights, resizeImage, type ImageBytes, type ResamplingFilter, type ResamplingWeights } from './resampling.js';

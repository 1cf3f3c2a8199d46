export { resamplingWeights, resizeImage, type ImageBytes, type ResamplingFilter, type ResamplingWeights } from './resampling.js';
export { resizeFloatChannels } from './float-channels.js';

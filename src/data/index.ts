export { batchStream, type BatchStreamOptions, type PositionedBatch } from './batch-stream.js';
export type { DecodedImage, EncodedImages, FileRange, ImageLocation, OnInvalid } from './encoded/encoded-images.js';
export { oneHot, toFloat, toUint8 } from './images.js';
export { permutation } from './permutation.js';
export { labelNames, shapes, shapesOptions, type ShapeName, type ShapesOptions } from './shapes.js';

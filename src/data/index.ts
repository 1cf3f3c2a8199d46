export { batchStream, type BatchStreamOptions, type PositionedBatch } from './batch-stream.js';
export { decodeImage } from './encoded/decode-image.js';
export { decodePool, type DecodePool, type DecodePoolOptions } from './encoded/decode-pool.js';
export { encodedSource, type EncodedSourceOptions } from './encoded/encoded-source.js';
export type { DecodedImage, EncodedImages, FileRange, ImageLocation, OnInvalid } from './encoded/encoded-images.js';
export { oneHot, toFloat, toUint8 } from './images.js';
export { cifar10, type Cifar10Options } from './raw/cifar10.js';
export { permutation } from './permutation.js';
export { labelNames, shapes, shapesOptions, type ShapeName, type ShapesOptions } from './shapes.js';

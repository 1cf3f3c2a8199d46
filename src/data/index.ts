export { labelNames, shapes, shapesOptions, type ShapeName, type ShapesOptions } from './shapes.js';

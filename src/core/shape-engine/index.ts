export { MemoryMeter } from './memory-meter.js';
export { withShapeEngine } from './shape-engine.js';

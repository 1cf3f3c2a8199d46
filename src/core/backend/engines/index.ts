import type { Engine } from '../engine.js';
import { cpuEngine } from './cpu.js';
import { tensorflowEngine } from './tensorflow.js';
import { wasmEngine } from './wasm.js';

/** Every engine, best first. */
export const ENGINES: readonly Engine[] = [tensorflowEngine, wasmEngine, cpuEngine];

/**
 * What an engine is: one file per engine in `engines/`, one row of the table in `engines/index.ts`.
 */
import type { EngineName } from './options.js';

export interface EngineRequest {
  /** Threads that one operation may use; undefined: all processors. */
  threads: number | undefined;
}

export interface OpenedEngine {
  /** For logs and reports, one line. */
  description: string;
  /** Version of the library that computes. */
  version: string;
  /** Threads that one operation uses. */
  threads: number;
  /** The GPU that computes; undefined where the processor does. */
  gpu: string | undefined;
  /** What would make it faster, one line with the fix; undefined: nothing is missing. */
  notice?: string | undefined;
}

export interface Engine {
  readonly name: EngineName;
  /** False for an engine that is opened only when it is asked for by name. */
  readonly automatic: boolean;
  /**
   * Loads the engine and makes it the current backend of TensorFlow.js.
   *
   * Opening it again is cheap. Throws {@link EngineError} where it cannot be opened; the process stays usable.
   */
  open(request: EngineRequest): Promise<OpenedEngine>;
}

import type { Readable } from 'node:stream';

/** So much is taken from the network ahead of the disk. */
const MOST_WAITING = 4 << 20;

/**
 * The chunks of a body in order; a failure of the body comes after the last chunk that arrived, where a plain stream
 * would drop what was not read yet.
 */
export class ChunkQueue {
  readonly #chunks: Buffer[] = [];
  #waiting = 0;
  #ended = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(private readonly body: Readable) {
    body.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#waiting += chunk.byteLength;
      if (this.#waiting >= MOST_WAITING) body.pause();
      this.#wake?.();
    });
    body.on('end', () => this.#finish());
    body.on('error', (error) => this.#finish(error));
    body.on('close', () => this.#finish(new Error('the connection was closed')));
  }

  #finish(failure?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#wake?.();
  }

  /** The next chunk; undefined after the last. Throws what the body failed with. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#waiting -= chunk.byteLength;
        if (this.#waiting < MOST_WAITING && this.body.isPaused()) this.body.resume();
        return chunk;
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }

  /** Takes no more. */
  close(): void {
    this.#finish();
    this.body.destroy();
  }
}

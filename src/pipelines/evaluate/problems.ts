/**
 * Everything that is wrong with what was asked for, said at once.
 */
import { ConfigError, OnestepError, RunError } from '../../core/errors.js';

/** Gathers problems, and errors that would each end the work alone. */
export class Problems {
  readonly #lines = new Set<string>();
  readonly #errors: OnestepError[] = [];

  constructor(private readonly where: string) {}

  /** Whether there is one. */
  get any(): boolean {
    return this.#lines.size + this.#errors.length > 0;
  }

  /** Adds lines such as `images: expected two or more, got 1`; the same one counts once. */
  add(...lines: string[]): void {
    for (const line of lines) this.#lines.add(line);
  }

  /** What `action` resolves to; undefined where it fails with an error of this package, which is kept. An interruption and foreign errors are thrown. */
  async attempt<T>(action: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof OnestepError) || error instanceof RunError) throw error;
      if (error instanceof ConfigError) this.add(...error.problems);
      else if (this.#errors.every(({ message }) => message !== error.message)) this.#errors.push(error);
      return undefined;
    }
  }

  /** Throws what there is: one error alone as it is, else `E_CONFIG` that lists everything. */
  throwIfAny(): void {
    if (!this.any) return;
    if (this.#lines.size === 0 && this.#errors.length === 1) throw this.#errors[0]!;
    const help = 'nothing was started; correct the options and start again';
    throw new ConfigError(this.where, [...this.#lines, ...this.#errors.map(oneProblem)], { help, cause: this.#errors[0] });
  }
}

/** An error with its help as one entry of a list. */
function oneProblem({ message, help }: OnestepError): string {
  const what = help === undefined ? message : message.slice(0, -`\nhelp: ${help}`.length);
  return [...what.split('\n'), ...(help === undefined ? [] : [`help: ${help}`])].join('\n    ');
}

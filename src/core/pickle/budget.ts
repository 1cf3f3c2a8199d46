import { FileError } from '../errors.js';

/** What one file may cost us before anything of its tensors is read. A published snapshot of 300 million parameters uses less than a third of each. */
export interface PickleLimits {
  /** Instructions, of nested containers too. */
  instructions: number;
  /** An estimate of the memory of all objects made. */
  heldBytes: number;
  /** Of one text. */
  textBytes: number;
  /** Of one integer; Python's own integers have no bound. */
  integerBytes: number;
  /** Values that wait on the machine's stack. */
  stackDepth: number;
  /** Containers that lie inside the file as bytes (`torch.storage._load_from_bytes`). */
  nestedContainers: number;
  /** Keys of dicts and members of sets that are numbers, or texts of digits: where those fall in a hash table can be chosen, and with it how long it takes. */
  numberedKeys: number;
  /** Ranges of the file that tensors are views of. */
  storages: number;
  /** Values of tensors that repeat their storage (`expand`), all together. */
  repeatedValues: number;
}

export const PICKLE_LIMITS: Readonly<PickleLimits> = {
  instructions: 2_000_000,
  heldBytes: 2 ** 26,
  textBytes: 2 ** 23,
  integerBytes: 512,
  stackDepth: 500_000,
  nestedContainers: 4_000,
  numberedKeys: 20_000,
  storages: 20_000,
  repeatedValues: 2 ** 26,
};

/** Counts down what a file may use; nested containers share the budget of the file they lie in. */
export class PickleBudget {
  readonly #left: PickleLimits;
  #instructions: number;

  constructor(
    private readonly file: string,
    readonly limits: Readonly<PickleLimits> = PICKLE_LIMITS,
  ) {
    this.#left = { ...limits };
    this.#instructions = limits.instructions;
  }

  /** Spends one instruction. */
  step(): void {
    if (--this.#instructions < 0) throw this.exceeded('instructions');
  }

  /** Throws {@link FileError} `E_PICKLE_LIMIT` where nothing is left. */
  spend(what: Exclude<keyof PickleLimits, 'instructions'>, amount: number): void {
    if (!((this.#left[what] -= amount) >= 0)) throw this.exceeded(what);
  }

  /** Throws {@link FileError} `E_PICKLE_LIMIT` where one thing alone is too large. */
  bound(what: keyof PickleLimits, amount: number): void {
    if (!(amount <= this.limits[what])) throw this.exceeded(what, amount);
  }

  exceeded(what: keyof PickleLimits, found?: number): FileError {
    const name = what.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    return new FileError(
      'E_PICKLE_LIMIT',
      `${this.file}: expected at most ${this.limits[what]} ${name}, found ${found === undefined ? 'more' : found}`,
      { help: 'no weights need this much: the file is damaged or hostile. If you trust it, convert it in Python to safetensors' },
    );
  }
}

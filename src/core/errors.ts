/**
 * The errors that onestep throws: few classes, each with a stable `code`, a message that says where,
 * what was expected and what was found, and a last line `help: …` with the fix.
 */

export interface ErrorDetails {
  /** What to do about it; printed as the last line, after `help: `. */
  help?: string;
  cause?: unknown;
}

/** The base of every error of this package; `code` is stable, the wording is not. */
export class OnestepError extends Error {
  readonly code: string;
  readonly help: string | undefined;

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(details.help === undefined ? message : `${message}\nhelp: ${details.help}`, { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.help = details.help;
  }
}

/** Options that are wrong or unknown. `problems` lists every one of them. */
export class ConfigError extends OnestepError {
  readonly problems: readonly string[];

  constructor(where: string, problems: readonly string[], details: ErrorDetails = {}) {
    super(
      'E_CONFIG',
      `${where}: ${problems.length} problem${problems.length === 1 ? '' : 's'}\n${problems.map((p) => `  - ${p}`).join('\n')}`,
      details,
    );
    this.problems = problems;
  }
}

/** A file that is missing, damaged, of another format, or that cannot be written. Codes: `E_FILE_…`. */
export class FileError extends OnestepError {}

/** A file that could not be fetched, or a reference that names none. Codes: `E_DOWNLOAD_…`. */
export class DownloadError extends OnestepError {}

/** Weights that do not fit the network: names the tensor, the expected and the found shape. Codes: `E_WEIGHTS_…`. */
export class WeightsError extends OnestepError {}

/** An engine that cannot be opened or lacks something. Codes: `E_ENGINE_…`. */
export class EngineError extends OnestepError {}

/** Wrong tensor shapes or values given to a function. Codes: `E_SHAPE`, `E_VALUE`. */
export class ArgumentError extends OnestepError {}

/** A run that had to stop. Codes: `E_RUN_…`. */
export class RunError extends OnestepError {}

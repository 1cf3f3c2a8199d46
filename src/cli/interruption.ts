import { constants } from 'node:os';

/** Ctrl-C and SIGTERM as a signal; the second one ends the process at once. */
export interface Interruption {
  readonly signal: AbortSignal;
  /** 128 and the number of the signal that came, as shells have it; undefined where none did. */
  exitCode(): number | undefined;
}

/** Runs `action` with a signal that Ctrl-C and SIGTERM abort. `onSignal` says what happens then. */
export async function withInterruption<T>(
  action: (interruption: Interruption) => Promise<T>,
  onSignal: (name: NodeJS.Signals) => void = () => undefined,
): Promise<T> {
  const controller = new AbortController();
  let received: 'SIGINT' | 'SIGTERM' | undefined;
  const codeOf = (name: 'SIGINT' | 'SIGTERM') => 128 + constants.signals[name];
  const stop = (name: NodeJS.Signals) => {
    if (received !== undefined) process.exit(codeOf(received));
    received = name as 'SIGINT' | 'SIGTERM';
    onSignal(name);
    controller.abort();
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    return await action({ signal: controller.signal, exitCode: () => received && codeOf(received) });
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

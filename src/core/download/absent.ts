/**
 * Files that are simply not on this machine.
 */
import { OnestepError } from '../errors.js';

const ABSENT = new Set(['E_FILE_ABSENT', 'E_DOWNLOAD_OFFLINE']);

/** Whether `error` says that a file is not on this machine, and no more. */
export const isAbsent = (error: unknown): boolean => error instanceof OnestepError && ABSENT.has(error.code);

/** Runs `look`; with `localOnly` a file that is not on this machine is no error. `look` opens it offline then. */
export async function lookAtFile(localOnly: boolean, look: () => Promise<unknown>): Promise<void> {
  try {
    await look();
  } catch (error) {
    if (!localOnly || !isAbsent(error)) throw error;
  }
}

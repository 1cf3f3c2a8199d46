import { Observable, type OperatorFunction } from 'rxjs';

/**
 * Runs `work` when a value comes; values that come while it runs are answered together by one more run.
 *
 * For rewriting a file that always holds the newest state: nothing is queued, and the last run starts after the last value.
 * Completes after that run; an error of `work` becomes the stream's.
 */
export function coalesce<T>(work: () => Promise<void>): OperatorFunction<T, never> {
  return (source) =>
    new Observable((subscriber) => {
      let busy = false;
      let again = false;
      let done = false;
      const run = (): void => {
        busy = true;
        again = false;
        work().then(
          () => {
            busy = false;
            if (again && !subscriber.closed) run();
            else if (done) subscriber.complete();
          },
          (error: unknown) => subscriber.error(error),
        );
      };
      return source.subscribe({
        next: () => {
          if (busy) again = true;
          else run();
        },
        error: (error: unknown) => subscriber.error(error),
        complete: () => {
          done = true;
          if (!busy) subscriber.complete();
        },
      });
    });
}

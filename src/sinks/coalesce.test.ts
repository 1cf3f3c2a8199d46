import { EMPTY, NEVER, Subject, of, throwError, type Observable } from 'rxjs';
import { expect, it } from 'vitest';
import { coalesce } from './coalesce.js';

/** Work that ends when told. */
function setUp(source$: Observable<unknown>) {
  const releases: ((error?: Error) => void)[] = [];
  const seen = { runs: 0, completed: false, error: undefined as unknown };
  const work = () =>
    new Promise<void>((resolve, reject) => {
      seen.runs++;
      releases.push((error) => (error === undefined ? resolve() : reject(error)));
    });
  const subscription = source$
    .pipe(coalesce(work))
    .subscribe({ complete: () => (seen.completed = true), error: (error: unknown) => (seen.error = error) });
  const finish = async (error?: Error) => {
    releases.shift()!(error);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { seen, finish, subscription };
}

it('never and empty: does nothing', () => {
  expect(setUp(NEVER).seen).toMatchObject({ runs: 0, completed: false });
  expect(setUp(EMPTY).seen).toMatchObject({ runs: 0, completed: true });
});

it('one: completes after the work', async () => {
  const { seen, finish } = setUp(of(1));
  expect(seen).toMatchObject({ runs: 1, completed: false });
  await finish();
  expect(seen).toMatchObject({ runs: 1, completed: true });
});

it('many: those that come meanwhile are answered by one more run', async () => {
  const source$ = new Subject<number>();
  const { seen, finish } = setUp(source$);
  for (let k = 0; k < 1000; k++) source$.next(k);
  expect(seen.runs).toBe(1);
  await finish();
  expect(seen.runs).toBe(2);
  await finish();
  source$.next(0);
  source$.next(0);
  source$.complete();
  await finish();
  expect(seen).toMatchObject({ runs: 4, completed: false });
  await finish();
  expect(seen).toMatchObject({ runs: 4, completed: true });
});

it('errors of the source and of the work reach the stream', async () => {
  expect(setUp(throwError(() => 'no')).seen.error).toBe('no');
  const { seen, finish } = setUp(new Subject<number>().pipe(() => of(1, 2)));
  await finish(new Error('disk full'));
  expect(seen).toMatchObject({ runs: 1, error: new Error('disk full') });
});

it('early unsubscribe: no further run', async () => {
  const source$ = new Subject<number>();
  const { seen, finish, subscription } = setUp(source$);
  source$.next(1);
  source$.next(2);
  subscription.unsubscribe();
  expect(source$.observed).toBe(false);
  await finish();
  expect(seen.runs).toBe(1);
});

import { abortReason, type DomainError } from '../../domain/errors.js';

/** Resolves after `ms`; rejects with the signal's reason as soon as that is aborted. */
export const pause = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((done, fail) => {
    if (signal?.aborted) return fail(abortReason(signal));
    const onAbort = (): void => {
      clearTimeout(timer);
      if (signal) fail(abortReason(signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      done();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });

/** `promise`, or a rejection: with the signal's reason, or with `late()` after `ms`. The promise's own later end is dropped. */
export const within = <T>(promise: Promise<T>, limit: { ms: number; late: () => DomainError; signal?: AbortSignal | undefined }): Promise<T> =>
  new Promise((done, fail) => {
    const { signal } = limit;
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      act();
    };
    const onAbort = (): void => settle(() => { if (signal) fail(abortReason(signal)); });
    const timer = setTimeout(() => settle(() => fail(limit.late())), limit.ms);
    promise.then((value) => settle(() => done(value)), (error: unknown) => settle(() => fail(error)));
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
  });

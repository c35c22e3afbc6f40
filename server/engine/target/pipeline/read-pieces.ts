import { DomainError } from '../../../domain/errors.js';
import { type RdbSource } from '../source.js';
import { within } from '../waiting.js';

/** The bytes of a source, or those of `[start, end)`. Fails with its error, STORAGE_IO when it gives nothing for `stallMs`, or the signal's reason. Nobody waits for a source that is left. A piece is lent until the next one is asked for. */
export async function* readPieces(source: RdbSource, { signal, stallMs, ...range }: { signal: AbortSignal; stallMs: number; start?: bigint; end?: bigint }): AsyncGenerator<Uint8Array, void> {
  const pieces = source.read({ signal, ...range })[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await within(pieces.next(), {
        ms: stallMs, signal,
        late: () => new DomainError('STORAGE_IO', `The archive gave no data for ${stallMs} ms.`, { hint: 'Check the store: its disk or network is too slow or gone.', retryable: true }),
      });
      if (next.done === true) return;
      yield next.value;
      source.release?.(next.value);
    }
  } finally {
    void pieces.return?.()?.catch(() => undefined);
  }
}

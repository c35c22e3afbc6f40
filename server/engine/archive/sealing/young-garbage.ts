import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Collect = (options: { type: 'minor' }) => void;

const findCollector = (): Collect | undefined => {
  try {
    setFlagsFromString('--expose-gc');
    const found: unknown = runInNewContext('gc');
    return typeof found === 'function' ? (found as Collect) : undefined;
  } catch {
    return undefined;
  }
};

/**
 * Every block that Brotli compresses or expands leaves a copy behind, of up to a megabyte, as objects of a few bytes each, and so does what is read over TLS: V8 sees no
 * reason to collect those for a long time, and a thread grows by a hundred megabytes. They die young, so the small collection finds them all.
 */
export class YoungGarbage {
  private readonly collect = findCollector();
  private bytes = 0;

  /** @param limit bytes after which it is collected */
  constructor(private readonly limit: number) {}

  add(bytes: number): void {
    this.bytes += bytes;
    if (this.bytes < this.limit) return;
    this.bytes = 0;
    this.collect?.({ type: 'minor' });
  }
}

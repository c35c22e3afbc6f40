/**
 * A source sends 16 KiB at a time, and each wake-up costs more than the work on such a chunk: so nothing is read for a moment after each
 * read, and the kernel gathers more for the next one. But a source that fills its window in that moment would be let on once per moment
 * only, a tenth of the speed, measured, and the kernel widens no window that nobody empties. What tells the two apart is what comes right after a read: a source
 * that was waiting for room has more ready, one that sends as it goes has little. What has been read before such little was not all that the window holds.
 */
export class Gathering {
  /** The read after the last pause. */
  private first = 0;
  /** What the window is known to hold, and more. */
  private roomy = 0;

  /**
   * @param most what a read takes at most: then there is more
   */
  constructor(private readonly most: number) {}

  /** Whether to pause after this read. */
  after(bytes: number): boolean {
    const first = this.first === 0;
    if (first) this.first = bytes;
    const scant = bytes < SCANT_READ;
    if (!scant && (!first || bytes >= this.most || bytes > this.roomy)) return false;
    if (scant && !first) this.roomy = Math.max(this.roomy, this.first);
    // Windows become smaller, too: it has to be found out again and again.
    else this.roomy -= this.roomy / FORGOTTEN_SHARE;
    this.first = 0;
    return true;
  }
}

/** Less than the receive window that Linux begins with, 64 KiB. */
const SCANT_READ = 48 * 1024;
/** Of what is known, with each pause that relies on it. */
const FORGOTTEN_SHARE = 32;

/** Less than the receive window that Linux begins with, 64 KiB. */
const SCANT_READ = 48 * 1024;
/** So much more than what has been found to fit is taken to fit as well, or a source that sends steadily would have to be asked each time; after a few pauses it is asked. */
const MARGIN = 1.25;
const FORGOTTEN_SHARE = 32;

/**
 * A source sends 16 KiB at a time, and each wake-up costs more than the work on such a chunk: so nothing is read for a moment after each
 * read, and the kernel gathers more for the next one. But a source that fills its window in that moment would be let on once per moment
 * only, a tenth of the speed, measured, and the kernel widens no window that nobody empties. What tells the two apart is what comes right after the
 * read that follows a pause: a source that was waiting for room has as much again, one that sends as it goes has little. Then that read was not all that a window holds.
 */
export class Gathering {
  /** Since the last pause. */
  private reads = 0;
  /** What the first of them took. */
  private first = 0;
  /** What the window is taken to hold without being full. */
  private roomy = 0;

  /** Whether to pause after this read. */
  after(bytes: number): boolean {
    this.reads += 1;
    let pause = bytes < SCANT_READ;
    if (this.reads === 1) {
      this.first = bytes;
      if (bytes <= this.roomy) {
        pause = true;
        // Windows become smaller, too: it has to be found out again and again.
        this.roomy -= this.roomy / FORGOTTEN_SHARE;
      }
    } else if (this.reads === 2 && bytes < this.first / 2) {
      pause = true;
      this.roomy = Math.max(this.roomy, this.first * MARGIN);
    }
    if (pause) this.reads = 0;
    return pause;
  }
}

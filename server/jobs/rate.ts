/** Seconds of samples that a rate is taken over. */
const WINDOW_MS = 5_000;
/** Samples closer than this to one another are one: however often it is told, the window holds few. */
const SAMPLE_MS = 100;

/** Bytes per second over the last few seconds; null until there are two samples some time apart. */
export class Rate {
  private samples: { at: number; bytes: bigint }[] = [];

  add(at: number, bytes: bigint): void {
    const [before, last] = this.samples.slice(-2);
    if (before && last && at - before.at < SAMPLE_MS) this.samples.pop();
    this.samples.push({ at, bytes });
    while (this.samples.length > 2 && at - (this.samples[1]?.at ?? at) > WINDOW_MS) this.samples.shift();
  }

  reset(): void {
    this.samples = [];
  }

  get bytesPerSecond(): number | null {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (!first || !last || last.at - first.at < 200) return null;
    return (Number(last.bytes - first.bytes) * 1000) / (last.at - first.at);
  }
}

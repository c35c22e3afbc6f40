/** Seconds of samples that a rate is taken over. */
const WINDOW_MS = 5_000;

/** Bytes per second over the last few seconds; null until there are two samples some time apart. */
export class Rate {
  private samples: { at: number; bytes: bigint }[] = [];

  add(at: number, bytes: bigint): void {
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

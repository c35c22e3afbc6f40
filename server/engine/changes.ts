/** Wakes whoever waits for something to change; what that is, they look up themselves. */
export class Changes {
  private readonly waiting = new Set<() => void>();

  /** Resolves at the next `tell`. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.waiting.add(resolve);
    });
  }

  tell(): void {
    for (const resolve of this.waiting) resolve();
    this.waiting.clear();
  }
}

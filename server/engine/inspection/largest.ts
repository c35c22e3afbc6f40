interface Placed {
  bytes: number;
  offset: number;
}

/** Whether `a` is to go before `b`: fewer bytes, or as many and further behind. */
const isLess = (a: Placed, b: Placed): boolean => a.bytes < b.bytes || (a.bytes === b.bytes && a.offset > b.offset);

/** The `most` largest of what is offered, in a heap whose root is the least of them. */
export class Largest<T extends Placed> {
  private readonly heap: T[] = [];

  constructor(private readonly most: number) {}

  /** Whether a key of so many bytes, which stands behind all that were added, would stay. */
  takes(bytes: number): boolean {
    return this.heap.length < this.most || bytes > (this.heap[0] as T).bytes;
  }

  /** What `takes` has said yes to. */
  add(item: T): void {
    const { heap } = this;
    if (heap.length < this.most) {
      heap.push(item);
      this.rise(heap.length - 1);
    } else {
      heap[0] = item;
      this.sink();
    }
  }

  /** Most bytes first; of equals the one that stands first. */
  items(): T[] {
    return [...this.heap].sort((a, b) => (isLess(a, b) ? 1 : -1));
  }

  private rise(from: number): void {
    const { heap } = this;
    for (let at = from; at > 0; ) {
      const above = (at - 1) >> 1;
      if (!isLess(heap[at] as T, heap[above] as T)) return;
      this.swap(at, above);
      at = above;
    }
  }

  private sink(): void {
    const { heap } = this;
    for (let at = 0; ; ) {
      let least = at;
      for (const below of [2 * at + 1, 2 * at + 2]) {
        if (below < heap.length && isLess(heap[below] as T, heap[least] as T)) least = below;
      }
      if (least === at) return;
      this.swap(at, least);
      at = least;
    }
  }

  private swap(a: number, b: number): void {
    const { heap } = this;
    [heap[a], heap[b]] = [heap[b] as T, heap[a] as T];
  }
}

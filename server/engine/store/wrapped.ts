import { type CallOptions, type ListOptions, type ObjectWriter, type ReadOptions, type Store, type StoreHealth, type StoredObject, type SweepOptions } from './store.js';

/** A store over another one; hands every call on as it is. */
export class WrappedStore implements Store {
  constructor(protected readonly inner: Store) {}

  get kind(): Store['kind'] {
    return this.inner.kind;
  }

  get id(): string {
    return this.inner.id;
  }

  get location(): string {
    return this.inner.location;
  }

  create(key: string, options?: CallOptions): Promise<ObjectWriter> {
    return this.inner.create(key, options);
  }

  read(key: string, options?: ReadOptions): AsyncIterable<Uint8Array> {
    return this.inner.read(key, options);
  }

  stat(key: string, options?: CallOptions): Promise<StoredObject | null> {
    return this.inner.stat(key, options);
  }

  remove(key: string, options?: CallOptions): Promise<void> {
    return this.inner.remove(key, options);
  }

  list(prefix: string, options?: ListOptions): AsyncIterable<StoredObject> {
    return this.inner.list(prefix, options);
  }

  check(options?: CallOptions): Promise<StoreHealth> {
    return this.inner.check(options);
  }

  sweep(options: SweepOptions): Promise<string[]> {
    return this.inner.sweep(options);
  }

  owner(options?: CallOptions): Promise<string | null> {
    return this.inner.owner(options);
  }

  claim(catalogueId: string, from: string | null, options?: CallOptions): Promise<string | null> {
    return this.inner.claim(catalogueId, from, options);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}

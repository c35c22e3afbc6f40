import { DomainError } from '../../domain/errors.js';
import { type ObjectWriter, type Store, type StoreHealth } from './store.js';
import { WrappedStore } from './wrapped.js';

/** Lets nothing through that would change a store. */
export const readOnly = (store: Store): Store => new ReadOnlyStore(store);

const refused = (location: string): DomainError => new DomainError('CONFLICT', `The store ${location} was opened to be read, and nothing else.`);

class ReadOnlyStore extends WrappedStore {
  override create(): Promise<ObjectWriter> {
    return Promise.reject(refused(this.location));
  }

  override remove(): Promise<void> {
    return Promise.reject(refused(this.location));
  }

  override sweep(): Promise<string[]> {
    return Promise.reject(refused(this.location));
  }

  override claim(): Promise<string | null> {
    return Promise.reject(refused(this.location));
  }

  override check(): Promise<StoreHealth> {
    return Promise.resolve({ writable: false, freeBytes: null, problem: refused(this.location) });
  }
}

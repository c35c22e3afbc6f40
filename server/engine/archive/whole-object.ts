import { DomainError } from '../../domain/errors.js';
import { type Store } from '../store/store.js';

/** Writes a small object in one go. CONFLICT when it exists; whatever else the store fails with, nothing is left then. */
export const writeWhole = async (store: Store, key: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> => {
  const writer = await store.create(key, { signal });
  try {
    await writer.write(bytes);
    await writer.commit();
  } catch (error) {
    await writer.abort();
    throw error;
  }
};

/** A small object's bytes, or null when there is none. Of one longer than `limit`, the first `limit` + 1 bytes. */
export const readWhole = async (store: Store, key: string, limit: number, signal?: AbortSignal): Promise<Buffer | null> => {
  const parts: Uint8Array[] = [];
  try {
    for await (const part of store.read(key, { length: BigInt(limit) + 1n, signal })) parts.push(Buffer.from(part));
  } catch (error) {
    if (error instanceof DomainError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
  return Buffer.concat(parts);
};

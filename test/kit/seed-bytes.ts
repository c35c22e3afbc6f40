import { createCipheriv, createHash } from 'node:crypto';

/** Bytes that look random and are the same for the same seed on every run. */
export const repeatableBytes = (length: number, seed: string): Buffer => repeatableSource(seed)(length);

/** An endless repeatable source, at memory speed. */
export const repeatableSource = (seed: string): ((length: number) => Buffer) => {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16));
  return (length) => cipher.update(Buffer.alloc(length));
};

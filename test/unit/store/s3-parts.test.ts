import { describe, expect, it } from 'vitest';
import { type S3Calls } from '../../../server/engine/store/s3-calls.js';
import { MAX_OBJECT_BYTES, MAX_PARTS, partBytes } from '../../../server/engine/store/s3-part-sizes.js';
import { S3ObjectWriter } from '../../../server/engine/store/s3-writer.js';

const MIB = 1024 * 1024;

describe('parts of an object in S3', () => {
  it('are small where objects are, never too small for S3, and enough for 1 TiB', () => {
    const sizes = Array.from({ length: MAX_PARTS }, (_, at) => partBytes(at + 1));
    expect(sizes[0]).toBe(8 * MIB);
    expect(sizes.slice(0, 2_000).every((size) => size === 8 * MIB)).toBe(true);
    expect([...sizes].sort((a, b) => a - b)).toEqual(sizes);
    expect(sizes.at(-1)).toBe(512 * MIB);
    expect(BigInt(sizes.reduce((sum, size) => sum + size, 0))).toBe(MAX_OBJECT_BYTES);
    expect(MAX_OBJECT_BYTES).toBeGreaterThan(2n ** 40n);
    // Three parts are in memory at most, of the larger ones two: 96 MiB are enough for what is stored of 100 GiB.
    const upTo100GiB = sizes.slice(0, 1 + sizes.findIndex((_, at) => sizes.slice(0, at + 1).reduce((sum, size) => sum + size, 0) > 100 * 1024 * MIB));
    expect(Math.max(...upTo100GiB)).toBe(32 * MIB);
  });

  it('end with LIMIT_EXCEEDED where S3 allows no more, and the upload is discarded', async () => {
    let discarded = 0;
    const calls = {
      location: 's3://test/', createUpload: () => Promise.resolve('upload'), uploadPart: () => Promise.resolve('etag'),
      abortUpload: () => Promise.resolve(void (discarded += 1)),
    } as unknown as S3Calls;
    const writer = new S3ObjectWriter({
      calls, key: 'k', conditions: { puts: true, uploads: true }, backoff: { attempts: 1, firstMs: 1, maxMs: 1 }, signal: undefined, inTurn: (_key, run) => run(), sizeOf: () => 1, noted: false,
    });
    await writer.write(Buffer.alloc(MAX_PARTS));
    const error: unknown = await writer.write(Buffer.alloc(2)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'LIMIT_EXCEEDED' });
    expect(discarded).toBe(1);
  });
});

import { describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { RdbReader } from '../../../server/engine/rdb/reader.js';
import { int64, lengthBytes, lzfBytes, lzfRun, RdbBuilder, stringBytes } from '../../kit/rdb-builder.js';
import { CHUNK_SIZES, read, readIn, SAMPLES } from './samples.js';

/** Code and offset of the error, at every chunk size the same. */
function refusal(file: Uint8Array): { code: string; offset: unknown; message: string } {
  const errors = CHUNK_SIZES.map((size) => {
    try {
      readIn(file, size);
    } catch (error) {
      if (error instanceof DomainError) return { code: error.code, offset: error.details['offset'], message: error.message };
      throw error;
    }
    throw new Error('the file was accepted');
  });
  const [first] = errors;
  for (const error of errors) expect(error).toEqual(first);
  if (first === undefined) throw new Error('no chunk sizes');
  expect(first.message).toContain(`byte ${String(first.offset)}`);
  return first;
}

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof DomainError) return error.code;
    throw error;
  }
  return 'ACCEPTED';
};

const checked = Object.entries(SAMPLES).filter(([, make]) => read(make()).checksum === 'VALID').map(([name, make]) => ({ name, make }));
const small = checked.filter(({ make }) => make().length < 2_000);

describe('damage is found', () => {
  it.each(small)('$name: every single flipped bit', ({ make }) => {
    const file = make();
    const missed: number[] = [];
    for (let bit = 0; bit < file.length * 8; bit++) {
      const at = bit >> 3;
      file[at] = (file[at] ?? 0) ^ (1 << (bit & 7));
      if (!['CORRUPT', 'TRUNCATED', 'UNSUPPORTED_FORMAT', 'LIMIT_EXCEEDED'].includes(codeOf(() => read(file)))) missed.push(bit);
      file[at] = (file[at] ?? 0) ^ (1 << (bit & 7));
    }
    expect(missed).toEqual([]);
  });

  it.each(checked)('$name: cut at every byte', ({ make }) => {
    const file = make();
    const walkable = read(file).unknown === null;
    const step = file.length > 5_000 ? 97 : 1;
    const missed: number[] = [];
    for (let length = 0; length < file.length; length += step) {
      const code = codeOf(() => read(file.subarray(0, length)));
      // Behind an unknown record a cut can only show as a wrong checksum.
      if (code !== 'TRUNCATED' && (walkable || code !== 'CORRUPT')) missed.push(length);
    }
    expect(missed).toEqual([]);
  });

  it('a checksum one bit off, with the offset where it stands', () => {
    const file = new RdbBuilder(11).select(0).string('k', 'v').build('WRONG');
    expect(refusal(file)).toMatchObject({ code: 'CORRUPT', offset: file.length - 8 });
  });

  it('an unknown type without a checksum to vouch for the rest', () => {
    const builder = new RdbBuilder(14).select(0).value(27, 'k', 'opaque');
    expect(refusal(builder.build('ZERO'))).toMatchObject({ code: 'CORRUPT', offset: 11 });
    expect(refusal(builder.build('WRONG')).code).toBe('CORRUPT');
  });
});

describe('what is no RDB file', () => {
  it.each(['HTTP/1.1 400 Bad Request', 'REDIS00x1abc', 'REDIS0000abc', 'VALKEY000abc', 'VALKEYXXX', 'redis0011', 'REDIS0004\u00ff', '\0'.repeat(20)])('%j', (text) => {
    expect(refusal(Buffer.from(text))).toMatchObject({ code: 'UNSUPPORTED_FORMAT', offset: 0 });
  });

  it.each(['', 'REDIS', 'REDIS0011'])('%j ends too early', (text) => {
    expect(refusal(Buffer.from(text))).toMatchObject({ code: 'TRUNCATED', offset: text.length });
  });

  it('functions of a 7.0 release candidate', () => {
    expect(refusal(new RdbBuilder(10).raw([246], stringBytes('a')).build())).toMatchObject({ code: 'UNSUPPORTED_FORMAT', offset: 9 });
  });
});

describe('hostile files', () => {
  const keys = (): RdbBuilder => new RdbBuilder(11).select(0);
  const huge = 2n ** 60n;

  it.each([
    ['a key of 2^60 bytes', keys().raw([0], lengthBytes(huge)), 'CORRUPT', 12],
    ['a compressed string of 2^60 bytes', keys().raw([0], stringBytes('k'), lzfBytes(Buffer.alloc(4), 1, huge)), 'CORRUPT', 14],
    ['more than LZF can hold', keys().raw([0], stringBytes('k'), lzfBytes(Buffer.alloc(10), 881)), 'CORRUPT', 14],
    ['2^60 elements', keys().raw([2], stringBytes('k'), lengthBytes(huge)), 'CORRUPT', 14],
    ['2^60 consumers', keys().raw([5], stringBytes('k'), lengthBytes(huge)), 'CORRUPT', 14],
    ['a string encoding that does not exist', keys().raw([0], stringBytes('k'), [0xc4]), 'CORRUPT', 14],
    ['an encoded string where a length stands', keys().raw([2], stringBytes('k'), [0xc0, 1]), 'CORRUPT', 14],
    ['a length form that does not exist', keys().raw([2], stringBytes('k'), [0x82, 1, 1, 1, 1]), 'CORRUPT', 14],
    ['a module opcode that does not exist', keys().raw([7], stringBytes('k'), [0, 6]), 'CORRUPT', 15],
    ['a database beyond a C int', keys().raw([254], lengthBytes(2 ** 31)), 'CORRUPT', 12],
  ] as const)('%s', (_, builder, code, offset) => {
    expect(refusal(builder.build())).toMatchObject({ code, offset });
  });

  it.each([
    ['2^32 elements', keys().raw([2], stringBytes('k'), lengthBytes(2n ** 32n), stringBytes('one'))],
    ['2^40 pairs', keys().raw([4], stringBytes('k'), lengthBytes(2n ** 40n))],
    ['a string of 2^39 bytes', keys().raw([0], stringBytes('k'), lengthBytes(2n ** 39n))],
    ['2^40 stream groups', keys().raw([15], stringBytes('k'), lengthBytes(0), [0, 0, 0], lengthBytes(2n ** 40n))],
  ])('%s that never come', (_, builder) => {
    const file = builder.build().subarray(0, -9);
    expect(refusal(file)).toMatchObject({ code: 'TRUNCATED', offset: file.length });
  });

  it('more databases than a summary counts', () => {
    const builder = new RdbBuilder(11);
    for (let at = 0; at < 65_536; at++) builder.select(at);
    expect(read(builder.build()).keys).toBe(0n);
    expect(codeOf(() => read(builder.select(65_536).build()))).toBe('LIMIT_EXCEEDED');
  });

  it('more module types than a summary names', () => {
    const builder = new RdbBuilder(11);
    for (let at = 0; at < 1_025; at++) builder.raw([247], lengthBytes(BigInt(at) << 10n), lengthBytes(0));
    expect(codeOf(() => read(builder.build()))).toBe('LIMIT_EXCEEDED');
  });

  it('module ids and stream counters may use all 64 bits', () => {
    const builder = new RdbBuilder(11).raw([247], lengthBytes(2n ** 64n - 1n), lengthBytes(2), lengthBytes(2n ** 64n - 1n), lengthBytes(0));
    expect(read(builder.build())).toMatchObject({ modules: ['_________'], integrity: 'STRUCTURE_AND_CHECKSUM' });
  });

  it('no memory is taken for what is only declared', () => {
    const before = process.memoryUsage();
    const reader = new RdbReader();
    reader.push(keys().raw([0], stringBytes('k'), lengthBytes(2n ** 39n)).build().subarray(0, -9));
    const chunk = Buffer.alloc(1 << 20);
    for (let at = 0; at < 64; at++) expect(reader.push(chunk)).toBe(chunk.length);
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(8 << 20);
    expect(after.heapUsed - before.heapUsed).toBeLessThan(32 << 20);
  });
});

describe('a reader that has failed', () => {
  it('stays failed, with the same error', () => {
    const reader = new RdbReader();
    const broken = new RdbBuilder(11).raw([2], stringBytes('k'), [0xff]).build();
    const errors = [() => reader.push(broken), () => reader.push(Buffer.from('x')), () => reader.finish()].map((work) => {
      try {
        work();
      } catch (error) {
        return error;
      }
      return null;
    });
    expect(errors[0]).toBeInstanceOf(DomainError);
    expect(new Set(errors).size).toBe(1);
  });
});

/** What a second and a half sufficed for. */
const ROUNDS = 3_000;

describe('random damage', () => {
  it('gives a DomainError or a summary, the same at any chunk size, and never hangs', () => {
    // Without checksums, so that accepted nonsense shows as well; a linear congruence makes every run the same.
    let seed = 20_240_607;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const files = small.map(({ make }) => {
      const file = make();
      file.fill(0, file.length - 8);
      return file;
    });
    const interesting = [0, 1, 63, 64, 127, 128, 129, 192, 195, 196, 243, 245, 247, 250, 254, 255];
    const outcomes = new Map<string, number>();
    for (let round = 0; round < ROUNDS; round++) {
      let file: Uint8Array = Uint8Array.from(files[random(files.length)] ?? []);
      for (let change = random(4); change >= 0; change--) {
        const at = 9 + random(file.length - 9);
        const what = random(5);
        if (what === 0) file[at] = random(256);
        else if (what === 1) file[at] = interesting[random(interesting.length)] ?? 0;
        else if (what === 2) file = Buffer.concat([file.subarray(0, at), file.subarray(Math.min(file.length, at + random(20)))]);
        else if (what === 3) file = Buffer.concat([file.subarray(0, at), file.subarray(at - random(9)), Buffer.alloc(1)]);
        else file = Buffer.concat([file.subarray(0, at), lengthBytes(BigInt(random(2 ** 31)) << BigInt(random(33))), file.subarray(at)]);
      }
      const attempt = (size: number): unknown => {
        try {
          return readIn(file, size);
        } catch (error) {
          if (error instanceof DomainError) return error.message;
          throw error;
        }
      };
      const whole = attempt(Infinity);
      expect(attempt(1 + random(40))).toEqual(whole);
      const kind = typeof whole === 'string' ? 'refused' : 'read';
      outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1);
    }
    expect(outcomes.get('refused')).toBeGreaterThan(100);
    expect(outcomes.get('read')).toBeGreaterThan(10);
  });

  it('and a run of LZF blocks within the bound is no damage', () => {
    expect(read(new RdbBuilder(11).value(0, 'k', lzfBytes(lzfRun(1, 88_000), 88_000)).raw([252], int64(5)).string('l', 'v').build()).keys).toBe(2n);
  });
});

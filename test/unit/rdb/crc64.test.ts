import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { crc64, Crc64 } from '../../../server/engine/rdb/crc64.js';
import { transpile } from '../../kit/transpile.js';

const noise = Uint8Array.from({ length: 1_000 }, (_, at) => (at * 2_654_435_761) >>> 13);

/** The definition, one bit at a time. */
const slow = (bytes: Uint8Array): bigint => bytes.reduce((crc, byte) => {
  let next = crc ^ BigInt(byte);
  for (let bit = 0; bit < 8; bit++) next = next & 1n ? (next >> 1n) ^ 0x95ac9329ac4bc9b5n : next >> 1n;
  return next;
}, 0n);

describe('CRC-64', () => {
  it('gives the check value of the Jones parameters', () => {
    expect(crc64(Buffer.from('123456789'))).toBe(0xe9c6d914c4b8d9can);
    expect(crc64(new Uint8Array())).toBe(0n);
  });

  it('agrees with the definition at every length and every alignment', () => {
    for (let from = 0; from < 9; from++) {
      for (const length of [0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 64, 100]) {
        const part = noise.subarray(from, from + length);
        expect(crc64(part)).toBe(slow(part));
      }
    }
  });

  it('agrees with the definition on pieces of many kibibytes, cut anywhere, from any alignment and seed', () => {
    const long = Uint8Array.from({ length: 70_003 }, (_, at) => (at * 2_654_435_761) >>> 11);
    const whole = slow(long);
    for (const cut of [0, 1, 5, 8_191, 8_192, 8_193, 16_384, 19_776, 19_807, 19_808, 32_768, 40_001, 70_003]) {
      expect(crc64(long.subarray(cut), crc64(long.subarray(0, cut)))).toBe(whole);
    }
    // More than WebAssembly is given at once; of zeros, which only a seed makes more than nothing of.
    const zeros = new Uint8Array(300_000);
    let inPieces = 0xfedcba9876543210n;
    for (let at = 0; at < zeros.length; at += 1_000) inPieces = crc64(zeros.subarray(at, at + 1_000), inPieces);
    expect(crc64(zeros, 0xfedcba9876543210n)).toBe(inPieces);
  });

  it('agrees with the words where one bit is set, whatever it is divided with', () => {
    // A CRC is linear: what is right for each bit alone, and goes on from a seed, is right for all.
    const bytes = new Uint8Array(24_000);
    for (let at = 0; at < bytes.length; at += 37) {
      bytes[at] = 1 << (at % 8);
      const words = new Crc64(0x1234n);
      words.words(bytes);
      expect(crc64(bytes, 0x1234n)).toBe(words.value);
      bytes[at] = 0;
    }
  });

  it('is right where the processor has no vectors', () => {
    const module = join(transpile('server/engine/rdb/crc64.ts', 'server/engine/rdb/crc64-wasm.ts'), 'server/engine/rdb');
    const said = execFileSync(process.execPath, [...(process.arch === 'x64' ? ['--no-enable-sse4-1'] : []), '--input-type=module', '-e', `
      const { crc64 } = await import(${JSON.stringify(join(module, 'crc64.js'))});
      const { compileCrc64 } = await import(${JSON.stringify(join(module, 'crc64-wasm.js'))});
      const bytes = Uint8Array.from({ length: 70_003 }, (_, at) => (at * 2_654_435_761) >>> 11);
      console.log(crc64(bytes).toString(), compileCrc64(new Int32Array(2048), new Int32Array(2048)) === null);
    `], { encoding: 'utf8' });
    const long = Uint8Array.from({ length: 70_003 }, (_, at) => (at * 2_654_435_761) >>> 11);
    expect(said).toBe(`${String(slow(long))} ${String(process.arch === 'x64')}\n`);
  });

  it('does not depend on how the bytes are cut, and goes on from a seed', () => {
    const whole = crc64(noise);
    for (let cut = 0; cut <= 40; cut++) {
      const crc = new Crc64();
      crc.update(noise.subarray(0, cut));
      crc.update(noise.subarray(cut));
      expect(crc.value).toBe(whole);
      expect(crc64(noise.subarray(cut), crc64(noise.subarray(0, cut)))).toBe(whole);
    }
  });

  it('is the same of a part of a larger piece, wherever that begins and ends, and can be written down', () => {
    const memory = Buffer.allocUnsafeSlow(40_000);
    for (let at = 0; at < memory.length; at++) memory[at] = (at * 2_654_435_761) >>> 11;
    const words = new Int32Array(memory.buffer, memory.byteOffset, memory.length >>> 2);
    const crc = new Crc64();
    for (const from of [0, 1, 2, 3, 4, 7]) {
      for (const length of [0, 1, 3, 8, 9, 100, 8_191, 8_192, 32_777]) {
        crc.reset();
        crc.updateWithin(memory, words, from, from + length);
        const written = Buffer.alloc(10);
        crc.writeTo(written, 1);
        expect([crc.value, written.readBigUInt64LE(1)]).toEqual([crc64(memory.subarray(from, from + length)), crc.value]);
      }
    }
  });
});

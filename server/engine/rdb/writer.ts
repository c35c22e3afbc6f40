import { Crc64 } from './crc64.js';
import { type RdbMagic } from './summary.js';

const FLUSH_BYTES = 64 * 1024;
const SELECTDB = 254;
const EXPIRETIME_MS = 252;
const AUX = 250;
const EOF = 255;

/** A length as RDB files spell it (rdb.c, rdbSaveLen). */
export const encodeLength = (length: number): Buffer => {
  if (length < 1 << 6) return Buffer.from([length]);
  if (length < 1 << 14) return Buffer.from([0x40 | (length >> 8), length & 0xff]);
  const out = Buffer.alloc(length < 2 ** 32 ? 5 : 9);
  out[0] = length < 2 ** 32 ? 0x80 : 0x81;
  if (length < 2 ** 32) out.writeUInt32BE(length, 1);
  else out.writeBigUInt64BE(BigInt(length), 1);
  return out;
};

/**
 * Writes an RDB file from values that are encoded already, in pieces of some 64 KiB. Databases and keys come in the order of the calls; a key
 * must not come twice in one database. The sink owns its piece.
 */
export class RdbWriter {
  private readonly crc = new Crc64();
  private held: Buffer[] = [];
  private heldBytes = 0;

  constructor(private readonly sink: (piece: Buffer) => void | Promise<void>) {}

  header(magic: RdbMagic, version: number): Promise<void> {
    return this.add(Buffer.from(magic === 'REDIS' ? `REDIS${String(version).padStart(4, '0')}` : `VALKEY${String(version).padStart(3, '0')}`, 'latin1'));
  }

  aux(name: string, value: string): Promise<void> {
    return this.add(Buffer.concat([Buffer.from([AUX]), text(name), text(value)]));
  }

  database(number: number): Promise<void> {
    return this.add(Buffer.concat([Buffer.from([SELECTDB]), encodeLength(number)]));
  }

  /** Expiry, type and name of a key; its value is what the calls of `value` until the next key make. @param expiresAt Unix time in ms */
  key(type: number, name: Buffer, expiresAt: bigint | null): Promise<void> {
    const expiry = Buffer.alloc(expiresAt === null ? 0 : 9);
    if (expiresAt !== null) {
      expiry[0] = EXPIRETIME_MS;
      expiry.writeBigInt64LE(expiresAt, 1);
    }
    return this.add(Buffer.concat([expiry, Buffer.from([type]), encodeLength(name.length), name]));
  }

  value(piece: Buffer): Promise<void> {
    return this.add(piece);
  }

  /** End mark and checksum. */
  async end(): Promise<void> {
    await this.add(Buffer.from([EOF]));
    const checksum = Buffer.alloc(8);
    checksum.writeBigUInt64LE(this.crc.value);
    await this.add(checksum);
    await this.flush();
  }

  private async add(bytes: Buffer): Promise<void> {
    this.crc.update(bytes);
    this.held.push(bytes);
    this.heldBytes += bytes.length;
    if (this.heldBytes >= FLUSH_BYTES) await this.flush();
  }

  private async flush(): Promise<void> {
    const { held } = this;
    this.held = [];
    this.heldBytes = 0;
    const [only] = held;
    if (only === undefined) return;
    await this.sink(held.length === 1 ? only : Buffer.concat(held));
  }
}

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([encodeLength(bytes.length), bytes]);
};

import { Crc64 } from '../rdb/crc64.js';
import { headerBytes } from '../rdb/header-rewrite.js';
import { type RdbHeader } from '../rdb/summary.js';

const CHECKSUM_BYTES = 8;

/**
 * Puts another header on an RDB that passes, and at its end the checksum of what has passed. Nothing else is changed, not even a length; one that its
 * server wrote without a checksum (`rdbchecksum no`) gets one.
 */
export class HeaderPatch {
  private readonly header: Buffer;
  private readonly crc = new Crc64();
  private passed = 0;

  constructor(header: RdbHeader) {
    this.header = headerBytes(header);
  }

  /** The next bytes, up to those that `end` is given. Returns them, or a copy where the header is among them. */
  pass(bytes: Uint8Array): Uint8Array {
    let out = bytes;
    if (this.passed < this.header.length) {
      out = Buffer.from(bytes);
      this.header.copy(out, 0, this.passed, this.passed + out.length);
    }
    this.passed += out.length;
    this.crc.update(out);
    return out;
  }

  /** The last bytes, the checksum among them. */
  end(bytes: Uint8Array): Uint8Array {
    const records = bytes.length - CHECKSUM_BYTES;
    const out = Buffer.concat([this.pass(bytes.subarray(0, records)), bytes.subarray(records)]);
    this.crc.writeTo(out, records);
    return out;
  }
}

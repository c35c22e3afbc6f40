import { type RestoreOptions } from '../../../domain/restore-options.js';
import { type RdbMagic } from '../../rdb/summary.js';
import { transferOf, type Transfer, type TransferTarget } from '../../rdb/transfer.js';
import { isDecodable } from '../../rdb/values/decode.js';
import { type ServerVersion } from '../../rdb/versions.js';

const MODULE = 7;
/** Types whose fields have expiries of their own, which stand in the value. */
const FIELD_EXPIRY: Readonly<Record<RdbMagic, ReadonlySet<number>>> = { REDIS: new Set([22, 23, 24, 25]), VALKEY: new Set([22]) };

export const NO_EXPIRY = 0;
export const EXPIRED = -1;

/** What a restore's options make of expiries and types, for one target. */
export class KeyRules {
  private readonly transfers = new Map<number, Transfer>();

  /**
   * @param source who wrote the RDB
   * @param takenAtMs when the backup was taken; for SHIFT
   * @param clockAheadMs how far the target's clock is ahead of ours
   */
  constructor(
    private readonly options: Pick<RestoreOptions, 'ttl'>, private readonly magic: RdbMagic, readonly target: TransferTarget,
    private readonly source: ServerVersion | null, private readonly takenAtMs: number, private readonly clockAheadMs: number,
  ) {}

  /** The target's time, in Unix milliseconds. */
  now(): number {
    return Date.now() + this.clockAheadMs;
  }

  /** When a key is to expire, in the target's Unix milliseconds; NO_EXPIRY, or EXPIRED where it is not to be written. @param at NaN: it does not expire */
  expiryOf(at: number, now: number): number {
    if (Number.isNaN(at)) return NO_EXPIRY;
    switch (this.options.ttl) {
      case 'PERSIST':
        return NO_EXPIRY;
      case 'SHIFT':
        return at <= this.takenAtMs ? EXPIRED : Math.round(at + now - this.takenAtMs);
      case 'KEEP':
      case 'DROP_EXPIRED':
        return at <= now ? EXPIRED : at;
    }
  }

  /** The same for the fields of hashes; null: it does not expire. */
  get fieldExpiry(): (at: number) => number | null {
    const { ttl } = this.options;
    if (ttl === 'PERSIST') return () => null;
    if (ttl === 'SHIFT') return (at) => (at <= this.takenAtMs ? 0 : Math.round(at + this.now() - this.takenAtMs));
    return (at) => at;
  }

  /** Whether an expired key takes along what the target has by its name, under REPLACE. */
  get expiredReplaces(): boolean {
    return this.options.ttl === 'KEEP';
  }

  /** @param module name of the module data type, for values of modules */
  transfer(rdbType: number, module: string): Transfer {
    if (rdbType === MODULE) return transferOf(rdbType, this.magic, this.target, { module, source: this.source });
    const known = this.transfers.get(rdbType);
    if (known !== undefined) return known;
    const transfer = this.decide(rdbType);
    this.transfers.set(rdbType, transfer);
    return transfer;
  }

  private decide(rdbType: number): Transfer {
    const transfer = transferOf(rdbType, this.magic, this.target, { source: this.source });
    const rewritesFields = this.options.ttl === 'SHIFT' || this.options.ttl === 'PERSIST';
    // The expiries of fields are within the payload; where they are to change, the value is made anew.
    if (transfer.by === 'PAYLOAD' && rewritesFields && FIELD_EXPIRY[this.magic].has(rdbType)) return { by: 'COMMANDS' };
    if (transfer.by === 'COMMANDS' && !isDecodable(rdbType, this.magic)) return { by: 'LOSS', loss: 'UNKNOWN_CONTENT' };
    return transfer;
  }
}

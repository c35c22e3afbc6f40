import { DomainError } from '../../../domain/errors.js';
import { ReplyError } from '../../resp.js';

/** A reply of RESP2: simple strings as text, bulk strings as bytes of their own. */
export type Reply = string | Buffer | number | null | ReplyError | Reply[];

const PLUS = 0x2b, MINUS = 0x2d, COLON = 0x3a, DOLLAR = 0x24, STAR = 0x2a, CR = 0x0d, LF = 0x0a;
const NOTHING = Buffer.alloc(0);
/** No server sends a line so long, and none a reply so large to what is asked here. */
const MAX_LINE = 64 * 1024;
const MAX_REPLY = 64 * 1024 * 1024;

const INCOMPLETE = Symbol('incomplete');

/** Cuts what a server sends into replies. Nearly all of them are `+OK`, which costs a comparison and a call. */
export class ReplyParser {
  private rest: Buffer = NOTHING;
  /** Bytes that a reply that has begun needs before it is worth looking at again. */
  private wanted = 0;
  private bytes: Buffer = NOTHING;
  private at = 0;

  /** @param onReply may throw; what comes then is lost */
  constructor(private readonly onReply: (reply: Reply) => void) {}

  /** Fails with PROTOCOL_ERROR for what is no RESP, and with whatever `onReply` throws. */
  push(chunk: Buffer): void {
    let bytes = chunk;
    if (this.rest.length > 0) {
      if (this.rest.length + chunk.length > MAX_REPLY) throw violated('a reply without an end');
      bytes = Buffer.concat([this.rest, chunk]);
      this.rest = NOTHING;
    }
    let at = 0;
    if (bytes.length >= this.wanted) {
      this.wanted = 0;
      this.bytes = bytes;
      while (at < bytes.length) {
        if (bytes[at] === PLUS && bytes[at + 1] === 0x4f && bytes[at + 2] === 0x4b && bytes[at + 3] === CR && bytes[at + 4] === LF) {
          at += 5;
          this.onReply('OK');
          continue;
        }
        this.at = at;
        const reply = this.reply();
        if (reply === INCOMPLETE) break;
        at = this.at;
        this.onReply(reply);
      }
    }
    if (at < bytes.length) this.rest = bytes === chunk ? Buffer.from(bytes.subarray(at)) : bytes.subarray(at);
  }

  private reply(): Reply | typeof INCOMPLETE {
    const { bytes } = this;
    const start = this.at;
    const end = bytes.indexOf(LF, start);
    if (end < 0) {
      if (bytes.length - start > MAX_LINE) throw violated(bytes.toString('latin1', start, start + 64));
      return INCOMPLETE;
    }
    const kind = bytes[start];
    if (bytes[end - 1] !== CR) throw violated(bytes.toString('latin1', start, end));
    this.at = end + 1;
    switch (kind) {
      case PLUS:
        return bytes.toString('latin1', start + 1, end - 1);
      case MINUS:
        return new ReplyError(bytes.toString('utf8', start + 1, end - 1));
      case COLON:
        return this.number(start, end);
      case DOLLAR: {
        const length = this.number(start, end);
        if (length < 0) return null;
        if (length > MAX_REPLY) throw violated(`$${String(length)}`);
        const last = this.at + length;
        if (bytes.length < last + 2) {
          this.wanted = last + 2 - start;
          return INCOMPLETE;
        }
        if (bytes[last] !== CR || bytes[last + 1] !== LF) throw violated('more than it announced');
        const value = Buffer.from(bytes.subarray(this.at, last));
        this.at = last + 2;
        return value;
      }
      case STAR: {
        const count = this.number(start, end);
        if (count < 0) return null;
        const items: Reply[] = [];
        for (let left = count; left > 0; left--) {
          const item = this.reply();
          if (item === INCOMPLETE) {
            this.wanted = 0;
            return INCOMPLETE;
          }
          items.push(item);
        }
        return items;
      }
      default:
        throw violated(bytes.toString('latin1', start, end));
    }
  }

  private number(start: number, end: number): number {
    const text = this.bytes.toString('latin1', start + 1, end - 1);
    if (!/^-?\d{1,19}$/.test(text)) throw violated(this.bytes.toString('latin1', start, end));
    return Number(text);
  }
}

const violated = (what: string): DomainError =>
  new DomainError('PROTOCOL_ERROR', `The target answered with ${JSON.stringify(what.slice(0, 64))}, which is no reply to what it was asked.`, {
    hint: 'Check that this address is a Redis or Valkey server, and whether something between here and there changes the bytes.',
  });

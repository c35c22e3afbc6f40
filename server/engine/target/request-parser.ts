import { DomainError } from '../../domain/errors.js';

/** One command as a replica sends it: the first argument is the name. */
export type Request = readonly Buffer[];

/** A replica's longest command is AUTH or REPLCONF with an address; an ACK has 60 bytes. */
const MAX_PENDING_BYTES = 16 * 1024;
const MAX_ARGUMENTS = 32;

const tooLong = (what: string): DomainError =>
  new DomainError('LIMIT_EXCEEDED', `A peer of the restore listener sent ${what}.`, { hint: 'Find out what connects to this service; it is no replica.' });
const malformed = (what: string): DomainError =>
  new DomainError('PROTOCOL_ERROR', `A peer of the restore listener sent ${what}.`, { hint: 'Find out what connects to this service; it is no replica.' });

/**
 * Takes commands out of a stream of bytes, however it is cut: arrays of bulk strings (from 6.x on, and every ACK) and inline
 * lines (older servers, during the handshake). Empty lines, which a loading replica sends as a sign of life, give nothing.
 * Holds at most 16 KiB. Fails with PROTOCOL_ERROR or LIMIT_EXCEEDED; nothing can be parsed after that.
 */
export class RequestParser {
  private pending: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Request[] {
    const requests: Request[] = [];
    // Taken in slices, so that a huge chunk of small commands stays inside the limit.
    for (let at = 0; at < chunk.length; at += MAX_PENDING_BYTES) {
      const slice = chunk.subarray(at, at + MAX_PENDING_BYTES);
      this.pending = this.pending.length === 0 ? slice : Buffer.concat([this.pending, slice]);
      for (let taken = this.take(); taken !== undefined; taken = this.take()) {
        if (taken.length > 0) requests.push(taken);
      }
      if (this.pending.length > MAX_PENDING_BYTES) throw tooLong(`an unfinished command of more than ${MAX_PENDING_BYTES} bytes`);
    }
    this.pending = Buffer.from(this.pending);
    return requests;
  }

  private take(): Request | undefined {
    const line = this.lineAt(0);
    if (line === undefined) return undefined;
    if (line.text[0] !== 0x2a) {
      this.pending = this.pending.subarray(line.next);
      return splitInline(line.text);
    }
    const count = numberIn(line.text);
    if (count > MAX_ARGUMENTS) throw tooLong(`a command of ${count} arguments`);
    const args: Buffer[] = [];
    let at = line.next;
    for (let index = 0; index < count; index += 1) {
      const head = this.lineAt(at);
      if (head === undefined) return undefined;
      if (head.text[0] !== 0x24) throw malformed('an array of something else than bulk strings');
      const length = numberIn(head.text);
      if (length > MAX_PENDING_BYTES) throw tooLong(`an argument of ${length} bytes`);
      const end = head.next + length;
      if (this.pending.length < end + 2) return undefined;
      if (this.pending[end] !== 0x0d || this.pending[end + 1] !== 0x0a) throw malformed('a bulk string that is longer than it says');
      args.push(Buffer.from(this.pending.subarray(head.next, end)));
      at = end + 2;
    }
    this.pending = this.pending.subarray(at);
    return args;
  }

  private lineAt(start: number): { text: Buffer; next: number } | undefined {
    const end = this.pending.indexOf(0x0a, start);
    if (end < 0) return undefined;
    const stop = end > start && this.pending[end - 1] === 0x0d ? end - 1 : end;
    return { text: this.pending.subarray(start, stop), next: end + 1 };
  }
}

const numberIn = (line: Buffer): number => {
  const text = line.toString('latin1', 1);
  if (!/^\d{1,9}$/.test(text)) throw malformed('a length that is no number');
  return Number(text);
};

const splitInline = (line: Buffer): Request => {
  const words = line.toString('latin1').split(/[ \t\0]+/).filter((word) => word.length > 0);
  if (words.length > MAX_ARGUMENTS) throw tooLong(`a line of ${words.length} words`);
  return words.map((word) => Buffer.from(word, 'latin1'));
};

import { DomainError } from '../../../domain/errors.js';
import { RdbReader } from '../../rdb/reader.js';
import { type RdbSummary } from '../../rdb/summary.js';
import { type Frame } from './frame.js';

/** Walks the RDB in the frames of an archive while they are filled. Fails as `RdbReader`, and with CORRUPT when bytes follow the RDB's end. */
export class ContentWalk {
  private readonly reader = new RdbReader();
  /** Of the frame that is being filled. */
  private walked = 0;

  get bytes(): bigint {
    return this.reader.bytes;
  }

  get keys(): bigint {
    return this.reader.keys;
  }

  /** Goes on with what has been filled since. */
  look(frame: Frame): void {
    const rest = frame.plain.subarray(this.walked);
    this.walked = frame.filled;
    if (rest.length === 0 || this.reader.push(rest) === rest.length) return;
    throw new DomainError('CORRUPT', `Bytes follow the end of the RDB (byte ${this.reader.bytes}).`, {
      hint: 'Take the backup again; if it happens again, something between here and the server changes the bytes.',
      details: { offset: Number(this.reader.bytes) },
    });
  }

  /** The frame is as full as it gets. */
  end(frame: Frame): void {
    this.look(frame);
    this.walked = 0;
  }

  finish(): RdbSummary {
    return this.reader.finish();
  }
}

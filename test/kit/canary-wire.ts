import { Socket } from 'node:net';

/** Longer than any secret as it may be written down, so that none is overlooked because it came in two pieces. */
const OVERLAP = 512;
const HTTP = Buffer.from('HTTP/');
const DOWNLOAD = /^HTTP\/1\.1 \d{3}(?:(?!\r\n\r\n)[^])*\r\ncontent-disposition: attachment/i;

interface Stream {
  rest: string;
  /** What is downloaded is the customer's own data, and much of it. */
  download: boolean;
}

/**
 * Shows what comes to this process from servers at certain ports, by whatever client it asked: answers of HTTP with their heads, frames, events of streams;
 * but not the bytes of downloads.
 * @param see a piece, after so many characters that were seen already
 * @returns the way to stop
 */
export const tapSockets = (isMeant: (port: number) => boolean, see: (text: string, seen: number) => void): (() => void) => {
  const streams = new WeakMap<Socket, Stream>();
  // What every socket that reads calls with every piece.
  const { push } = Socket.prototype;
  Socket.prototype.push = function (this: Socket, chunk: unknown, encoding?: BufferEncoding): boolean {
    if (Buffer.isBuffer(chunk) && isMeant(this.remotePort ?? 0)) {
      const stream = streams.get(this) ?? { rest: '', download: false };
      streams.set(this, stream);
      let text = stream.download && !chunk.subarray(0, 5).equals(HTTP) ? '' : chunk.toString();
      if (text.startsWith('HTTP/')) {
        stream.download = DOWNLOAD.test(text);
        if (stream.download) text = text.slice(0, text.indexOf('\r\n\r\n'));
      }
      see(stream.rest + text, stream.rest.length);
      stream.rest = (stream.rest + text).slice(-OVERLAP);
    }
    return push.call(this, chunk, encoding);
  };
  return () => {
    Socket.prototype.push = push;
  };
};

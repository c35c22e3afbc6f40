import { type Socket } from 'node:net';
import { sleep } from '../wait.js';
import { type LegacyNode } from './node.js';

export interface FeedScript {
  /** Between PSYNC and the payload, with a newline as sign of life several times. */
  saveMs: number;
  /** Clients write, and the server pings its replicas, while it saves. */
  busy: boolean;
  /** Set: called when so many bytes of the payload have left, and nothing more is sent. */
  crash: { afterBytes: number; now(): void } | undefined;
  onSent(rdb: Buffer): void;
}

const PIECE_BYTES = 512;
const BEATS = 3;
/** What a client writes while the server saves: in the stream, not in the file. */
export const WRITTEN_WHILE_SAVING = 'written-while-saving';

const send = (socket: Socket, bytes: string | Buffer): Promise<boolean> =>
  new Promise((done) => {
    if (socket.destroyed) done(false);
    else socket.write(bytes, (error) => { done(!error); });
  });

/**
 * Serves one PSYNC as a master that saves on its disk first: newlines, `+FULLRESYNC`, newlines, `$<len>`, the file, and in one piece with
 * its last bytes whatever has been written since; then the stream goes on until the replica leaves.
 */
export const feedReplica = async (node: LegacyNode, socket: Socket, script: FeedScript): Promise<void> => {
  let gathered: Buffer[] | undefined = [];
  const replica = {
    feed: (bytes: Buffer): void => {
      if (gathered) gathered.push(bytes);
      else socket.write(bytes);
    },
  };
  await send(socket, '\n');
  node.openBacklog();
  node.fullSyncs += 1;
  const rdb = node.save();
  node.replicas.add(replica);
  socket.once('close', () => node.replicas.delete(replica));
  await send(socket, `+FULLRESYNC ${node.historyId} ${String(node.offset)}\r\n`);
  if (script.busy) {
    node.write(0, Buffer.from(WRITTEN_WHILE_SAVING), Buffer.from(String(node.fullSyncs)));
    node.ping();
  }
  for (let beat = 0; beat < BEATS; beat += 1) {
    await sleep(script.saveMs / BEATS);
    await send(socket, '\n');
  }

  await send(socket, `$${String(rdb.length)}\r\n`);
  let at = 0;
  for (; at + PIECE_BYTES < rdb.length; at += PIECE_BYTES) {
    if (script.crash && at >= script.crash.afterBytes) {
      script.crash.now();
      return;
    }
    if (!(await send(socket, rdb.subarray(at, at + PIECE_BYTES)))) return;
  }
  script.onSent(rdb);
  const behind = Buffer.concat(gathered);
  gathered = undefined;
  await send(socket, Buffer.concat([rdb.subarray(at), behind]));
};

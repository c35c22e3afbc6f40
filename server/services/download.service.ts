import { DomainError } from '../domain/errors.js';
import { type Clock, type Log } from '../engine/ports.js';
import { archiveOf } from './archive-ref.js';
import { notingDamage, readNotingDamage } from './damage.js';
import { downloadName } from './file-name.js';
import { type Database, type EnginePort, type LinkSigner } from './ports.js';
import { startReading } from './reading.js';

export interface Download {
  fileName: string;
  sizeBytes: bigint;
  sha256: string;
  etag: string;
  modifiedAt: Date;
  read(range: { start: bigint; end: bigint }, signal: AbortSignal): AsyncIterable<Uint8Array>;
  release(): Promise<void>;
}

export interface DownloadServiceDeps {
  db: Database;
  engine: EnginePort;
  links: LinkSigner;
  clock: Clock;
  log: Log;
}

/** The link is the right: whoever holds a valid one is authorised for exactly its backup. */
export const createDownloadService = ({ db, engine, links, clock, log }: DownloadServiceDeps): { open(token: string): Promise<Download> } => ({
  async open(token) {
    const claims = links.verify(token, clock.now());
    if (!claims) throw new DomainError('NOT_FOUND', 'This link is not valid, or not any more.', { hint: 'Make a new one with createDownloadLink.' });
    const reading = await startReading(db, log, claims, claims.backupId, 'download');
    try {
      const { backup } = reading;
      const archive = await notingDamage({ db, log }, claims, backup.id, engine.openArchive(archiveOf(backup)));
      return {
        fileName: downloadName(backup),
        sizeBytes: backup.sizeBytes,
        sha256: backup.sha256,
        etag: backup.sha256,
        modifiedAt: backup.completedAt ?? backup.createdAt,
        read: (range, signal) => readNotingDamage({ db, log }, claims, backup.id, archive.read(range, AbortSignal.any([signal, reading.lost]))),
        async release() {
          try {
            await archive.close();
          } finally {
            await reading.release();
          }
        },
      };
    } catch (error) {
      await reading.release();
      throw error;
    }
  },
});

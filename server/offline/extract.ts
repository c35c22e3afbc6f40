import { DomainError, isDamageCode } from '../domain/errors.js';
import { type KeyRing, type Manifest } from '../engine/archive/archive.js';
import { type Store } from '../engine/store/store.js';
import { verifyArchive } from '../engine/verify.js';
import { type Console, EXIT, type ExitCode } from './console.js';
import { createOutputFile } from './output-file.js';
import { printable } from './text.js';

export interface ExtractOptions {
  backupId: string;
  /** A path, or `-` for the standard output. */
  to: string;
  /** Replace what is there. */
  force: boolean;
}

type Deps = { store: Store; keys: KeyRing | undefined };
type Sink = (bytes: Uint8Array) => Promise<void>;

const read = ({ store, keys }: Deps, backupId: string, sink: Sink, console: Console, signal: AbortSignal): Promise<Manifest> =>
  verifyArchive({ backupId, level: 'CONTENT' }, { store, keys, onPlain: sink }, signal, (progress) => {
    if (progress.kind === 'amount' && progress.bytesTotal) console.progress(`${Number((progress.bytesDone * 100n) / progress.bytesTotal)} %`);
  });

const toFile = async (deps: Deps, { backupId, to, force }: ExtractOptions, console: Console, signal: AbortSignal): Promise<string> => {
  const file = await createOutputFile(to, { replace: force });
  try {
    const { artifacts: [{ plainSize, plainSha256 }] } = await read(deps, backupId, (bytes) => file.write(bytes), console, signal);
    await file.commit();
    return `${file.path}: ${plainSize} bytes, SHA-256 ${plainSha256}`;
  } finally {
    await file.abort();
  }
};

/**
 * The RDB of an archive, as a file or on the standard output. It is verified meanwhile: a file appears only when all of it was right; on the standard output
 * nothing that is damaged is given out, but what came before the damage is, and only the exit code says that the rest is missing.
 */
export const extract = async (deps: Deps, options: ExtractOptions, console: Console, signal: AbortSignal): Promise<ExitCode> => {
  const { backupId, to } = options;
  try {
    if (to === '-') {
      const { artifacts: [{ plainSize, plainSha256 }] } = await read(deps, backupId, (bytes) => console.out(bytes), console, signal);
      console.err(`${backupId}: ${plainSize} bytes, SHA-256 ${plainSha256}`);
    } else await console.out(`${await toFile(deps, options, console, signal)}\n`);
    return EXIT.DONE;
  } catch (error) {
    if (!(error instanceof DomainError) || signal.aborted) throw error;
    console.err(`${error.code}: ${printable(error.message)}`);
    if (error.hint !== undefined) console.err(error.hint);
    return isDamageCode(error.code) ? EXIT.DAMAGED : EXIT.PREVENTED;
  }
};

import { DomainError } from '../../../server/domain/errors.js';
import { openArchive } from '../../../server/engine/archive/archive.js';
import { verifyArchive } from '../../../server/engine/verify.js';
import { isDamage } from '../../../server/services/damage.js';
import { BACKUP_ID, RING } from '../../unit/archive/archive-kit.js';
import { memoryStore, type Objects } from '../../kit/memory-store.js';
import { changesNothing, mutate, type Mutation, type Random } from './mutations.js';
import { keysOf, type Parts, type Scene } from './scene.js';

const NEVER = new AbortController().signal;
const KEYS = keysOf();

/** Compares what is released with what was sealed, byte for byte. */
class Released {
  private at = 0;
  wrong: string | undefined;

  constructor(private readonly plain: Buffer) {}

  readonly take = (piece: Uint8Array): void => {
    if (!this.plain.subarray(this.at, this.at + piece.length).equals(piece)) this.wrong ??= `released a wrong byte behind byte ${this.at}`;
    this.at += piece.length;
  };
}

const outcome = async (work: Promise<unknown>): Promise<unknown> => work.then(() => undefined, (error: unknown) => error ?? new Error('rejected with nothing'));

const said = (error: unknown): string => (error === undefined ? 'found nothing' : error instanceof DomainError ? `${error.code}: ${error.message}` : `broke: ${String(error)}`);

/**
 * Whether every way of reading a mutated archive finds that it is, before it has released a wrong byte: a verification and a read that know the archive, as the
 * service has them, must say that it is damaged; a read that knows nothing, as the offline command has it, must refuse it. Undefined when all of it is so.
 */
export const problemWith = async (mutation: Pick<Mutation, 'parts' | 'needsKnown'>, scene: Scene, random: Random): Promise<string | undefined> => {
  const objects: Objects = new Map();
  for (const part of Object.keys(KEYS) as (keyof Parts)[]) {
    const bytes = mutation.parts[part];
    if (bytes !== null) objects.set(KEYS[part], bytes);
  }
  const store = memoryStore(objects, () => 1 + random(100_000));

  const verified = new Released(scene.plain);
  const verification = await outcome(verifyArchive({ backupId: BACKUP_ID, level: 'CONTENT', known: scene.known }, { store, keys: RING, onPlain: verified.take }, NEVER, () => undefined));
  if (!isDamage(verification)) return `a verification ${said(verification)}`;
  if (verified.wrong !== undefined) return `a verification ${verified.wrong}`;

  for (const known of [scene.known, undefined]) {
    if (known === undefined && mutation.needsKnown) continue;
    const released = new Released(scene.plain);
    const reading = await outcome((async () => {
      const archive = await openArchive(store, BACKUP_ID, { keys: RING, known });
      for await (const piece of archive.read()) released.take(piece);
    })());
    const refused = isDamage(reading) || (known === undefined && reading instanceof DomainError && reading.code === 'UNSUPPORTED_FORMAT');
    if (!refused) return `a read that knows ${known ? 'the archive' : 'nothing'} ${said(reading)}`;
    if (released.wrong !== undefined) return `a read ${released.wrong}`;
  }
  return undefined;
};

export interface MutationReport {
  mutations: number;
  detected: number;
  /** Mutations by their kind. */
  kinds: Record<string, number>;
  missed: string[];
}

/** So many mutations, each of which changes something. */
export const runMutations = async (scene: Scene, count: number, random: Random, onProgress?: (done: number) => void): Promise<MutationReport> => {
  const report: MutationReport = { mutations: 0, detected: 0, kinds: {}, missed: [] };
  while (report.mutations < count) {
    const mutation = mutate(scene, random);
    if (changesNothing(mutation, scene)) continue;
    report.mutations += 1;
    report.kinds[mutation.kind] = (report.kinds[mutation.kind] ?? 0) + 1;
    const problem = await problemWith(mutation, scene, random);
    if (problem === undefined) report.detected += 1;
    else report.missed.push(`${report.mutations} ${mutation.kind} (${mutation.what}): ${problem}`);
    onProgress?.(report.mutations);
  }
  return report;
};

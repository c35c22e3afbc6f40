import { DomainError } from '../../domain/errors.js';
import { retentionDecisions } from '../../domain/retention.js';
import { type Manifest } from '../../engine/archive/archive.js';
import { type Store } from '../../engine/store/store.js';
import { type Database, type SettingName } from '../../services/ports.js';
import { type ProjectRecord } from '../../services/records.js';
import { type UpkeepArchives } from './archives.js';
import { catalogueIdOf, detachedBecause } from './attachment.js';

/** What adopting a store into a catalogue would do. */
export interface AdoptionPlan {
  catalogueId: string;
  storeId: string;
  location: string;
  /** Whose the store is until then. */
  owner: string | null;
  /** null: store and catalogue belong together already. */
  detachedBecause: string | null;
  sealed: number;
  /** Archives without a record; they get one. */
  strangers: number;
  /** Those of them whose manifest cannot be read, and why; they stay as they are. */
  unreadable: { backupId: string; reason: string }[];
  /** AVAILABLE backups of the catalogue that have no archive in the store; they become DAMAGED. */
  missing: number;
  /** Of the strangers, those that retention will remove once they were read through. */
  expired: number;
  /** Where archives of projects go that the catalogue does not know; `into` null: into the project of that id, made anew. */
  projects: { from: string; archives: number; instances: string[]; into: ProjectRecord | null }[];
}

/** What an operator says: archives of project `from` belong into project `into`, by id or name. */
export interface ProjectChoice {
  from: string;
  into: string;
}

const NEVER = new AbortController().signal;
const MOST_TOLD = 20;

const readStrangers = async (ids: readonly string[], archives: UpkeepArchives): Promise<{ manifests: Manifest[]; unreadable: AdoptionPlan['unreadable'] }> => {
  const manifests: Manifest[] = [];
  const unreadable: AdoptionPlan['unreadable'] = [];
  for (const backupId of ids) {
    try {
      manifests.push(await archives.manifest(backupId, NEVER));
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      unreadable.push({ backupId, reason: error.message });
    }
  }
  return { manifests, unreadable };
};

const countMissing = async (db: Database, sealed: ReadonlySet<string>): Promise<number> => {
  let missing = 0;
  for (let after = ''; ; ) {
    const page = await db.read.upkeep.available(after, 1_000);
    missing += page.filter(({ id }) => !sealed.has(id)).length;
    const last = page.at(-1);
    if (!last) return missing;
    after = last.id;
  }
};

/** How many would be past their time if all were good: the newest of each instance stays. */
const countExpired = (manifests: readonly Manifest[], now: Date): number =>
  retentionDecisions(manifests.map(({ backup, source, completedAt }) => ({
    backupId: backup.id, instanceId: source.instanceId, state: 'AVAILABLE', trigger: backup.trigger, completedAt, inUse: false,
  })), [], now).filter(({ action }) => action === 'DELETE').length;

const chosen = (known: readonly ProjectRecord[], from: string, choices: readonly ProjectChoice[], alone: boolean): ProjectRecord | null => {
  const choice = choices.find((one) => one.from === from);
  // A lost database had one project, its successor has one: it is the same project to whoever runs the two.
  if (!choice) return alone && known.length === 1 ? (known[0] ?? null) : null;
  const into = known.find(({ id, name }) => id === choice.into || name === choice.into);
  if (!into) throw new DomainError('NOT_FOUND', `There is no project "${choice.into}"; there are: ${known.map(({ id, name }) => `${name} (${id})`).join(', ')}.`);
  return into;
};

/** Looks, and changes nothing. CONFLICT for a database that no service was ever started on; NOT_FOUND for a project that is none. */
export const planAdoption = async (db: Database, store: Store, archives: UpkeepArchives, choices: readonly ProjectChoice[]): Promise<AdoptionPlan> => {
  const known = await db.read.upkeep.projects();
  if (known.length === 0) {
    throw new DomainError('CONFLICT', 'This database has no project yet.', { hint: 'Start the service on it once; it makes one, with an admin key. Then adopt.' });
  }
  const sealed = new Set<string>();
  for await (const entry of archives.list(NEVER)) if (entry.sealed) sealed.add(entry.backupId);
  const ids = [...sealed];
  const rows = new Set<string>();
  for (let at = 0; at < ids.length; at += 1_000) for (const { id } of await db.read.upkeep.backups(ids.slice(at, at + 1_000))) rows.add(id);
  const { manifests, unreadable } = await readStrangers(ids.filter((id) => !rows.has(id)), archives);
  const foreign = new Map<string, Manifest[]>();
  for (const manifest of manifests) {
    const { projectId } = manifest.backup;
    if (!known.some(({ id }) => id === projectId)) foreign.set(projectId, [...(foreign.get(projectId) ?? []), manifest]);
  }
  const stray = choices.find(({ from }) => !foreign.has(from));
  if (stray) throw new DomainError('NOT_FOUND', `No archive without a record names a project "${stray.from}" that this database does not know.`);
  return {
    catalogueId: await catalogueIdOf(db), storeId: store.id, location: store.location, owner: await store.owner(), detachedBecause: await detachedBecause(db, store),
    sealed: sealed.size, strangers: ids.length - rows.size, unreadable, missing: await countMissing(db, sealed),
    expired: countExpired(manifests, await db.read.now()),
    projects: [...foreign].map(([from, of]) => ({
      from, archives: of.length, instances: [...new Set(of.map(({ source }) => source.instanceName))].sort(), into: chosen(known, from, choices, foreign.size === 1),
    })),
  };
};

/** Makes store and catalogue name each other. The marker is written last: until then a service on either side keeps its hands off. CONFLICT when another was faster. */
export const carryOutAdoption = async (plan: AdoptionPlan, db: Database, store: Store): Promise<void> => {
  await db.transaction(async (tx) => {
    await tx.settings.put('store-id', plan.storeId);
    for (const { from, into } of plan.projects) if (into) await tx.settings.put(`adopt-into ${from}` satisfies SettingName, into.id);
  });
  const owner = plan.owner === plan.catalogueId ? plan.catalogueId : await store.claim(plan.catalogueId, plan.owner);
  if (owner !== plan.catalogueId) throw new DomainError('CONFLICT', `The store now belongs to catalogue ${owner ?? '(none)'}: another adoption came first.`, { hint: 'Look again.' });
};

const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

/** The plan in words. */
export const describeAdoption = (plan: AdoptionPlan): string => {
  const { strangers, unreadable, missing, expired, projects } = plan;
  const lines = [
    `Store      ${plan.location} (${plan.storeId}), of ${plan.owner === null ? 'no catalogue yet' : plan.owner === plan.catalogueId ? 'this catalogue' : `catalogue ${plan.owner}`}`,
    `Catalogue  ${plan.catalogueId}, this database`,
    `Archives   ${plan.sealed} sealed, ${strangers} of them without a record here`,
    '',
  ];
  if (plan.detachedBecause === null) return [...lines, 'They belong together already; there is nothing to adopt.', ''].join('\n');
  lines.push('Adopting the store will');
  lines.push('- make it this catalogue\'s. A service that still runs on another catalogue sweeps and deletes nothing in it from then on.');
  const adopted = strangers - unreadable.length;
  if (adopted > 0) lines.push(`- give ${plural(adopted, 'archive')} a record. Each is read through before it is AVAILABLE; a damaged one becomes DAMAGED.`);
  for (const { from, archives, instances, into } of projects) {
    const named = instances.slice(0, 5).map((name) => `"${name}"`).join(', ') + (instances.length > 5 ? ', …' : '');
    lines.push(into
      ? `- put ${plural(archives, 'archive')} of the unknown project ${from} (${named}) into project "${into.name}" (${into.id}).`
      : `- make project ${from} anew for ${plural(archives, 'archive')} (${named}). No key opens it: to put them into another project, say --project ${from}=NAME.`);
  }
  if (expired > 0) lines.push(`- let retention go on: ${plural(expired, 'of these archives is', 'of these archives are')} past the time and will be removed. The newest good one of each instance stays.`);
  if (missing > 0) lines.push(`- make ${plural(missing, 'AVAILABLE backup')} of this catalogue DAMAGED, because the store has no archive of ${missing === 1 ? 'it' : 'them'}.`);
  for (const { backupId, reason } of unreadable.slice(0, MOST_TOLD)) lines.push(`- leave ${backupId} as it is: ${reason}`);
  if (unreadable.length > MOST_TOLD) lines.push(`- leave ${unreadable.length - MOST_TOLD} more as they are.`);
  return [...lines, ''].join('\n');
};

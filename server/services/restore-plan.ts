import { type DatabaseCount } from '../domain/backup.js';
import { type EngineGate } from '../domain/capability.js';
import { blocksAll, hasWayAround, type MethodChoice } from '../domain/restore-method.js';
import { type RestoreOptions } from '../domain/restore-options.js';
import { type PipelineFindings } from '../engine/restore-pipeline.js';
import { type TargetFindings } from '../engine/target/check.js';
import { type TargetFacts } from '../engine/target/facts.js';
import { type PlanRow, type Repositories, type Scope } from './ports.js';
import { type BackupRecord, type BlockerRecord, type LossRecord, type PlanDetailRecord, type SelectionRecord, type WarningRecord } from './records.js';
import { type RestoreRequest } from './restore-request.js';

export const PLAN_SECONDS = 600;

export const planExpiry = (at: Date): Date => new Date(at.getTime() + PLAN_SECONDS * 1000);

/** What the service knows besides what the engine found at the target. */
export const ownBlockers = (gate: EngineGate, facts: TargetFacts, { safetyBackup }: { safetyBackup: boolean }): BlockerRecord[] => [
  ...(gate.isOff(facts.engine, facts.version)
    ? [{ name: 'ENGINE_SWITCHED_OFF', code: 'ENGINE_UNSUPPORTED' as const, message: `The operator of this service has switched ${facts.engine} ${facts.version} off.`, hint: 'Ask the operator, or restore into another server.' }]
    : []),
  ...(facts.mode === 'CLUSTER' && safetyBackup
    ? [{ name: 'CLUSTER_SAFETY_BACKUP', code: 'TARGET_BLOCKED' as const, message: 'A safety backup would hold one node of this cluster, and be no way back.', hint: 'Back up each of its nodes, then make a plan with safetyBackup: false.' }]
    : []),
];

/** @param replaces whether the target ends with the backup's data and nothing else */
const ownWarnings = (backup: Pick<BackupRecord, 'coverage'>, { replaces, mayFallBack }: { replaces: boolean; mayFallBack: boolean }): WarningRecord[] => [
  ...(backup.coverage.kind === 'SHARD' && replaces
    ? [{ name: 'PARTIAL_BACKUP', mustAccept: true, message: 'The backup holds one node of a cluster, not the whole database.', hint: 'Restore the other nodes\' backups elsewhere too, or write this one into what is there (flushFirst: false).' }]
    : []),
  ...(mayFallBack
    ? [{ name: 'MAY_GO_KEY_BY_KEY', mustAccept: false, message: 'Should the target not be able to connect back to this service, it is emptied and written key by key; meanwhile clients see a part of the backup.', hint: 'Ask for the method REPLICATION_LINK to rule that out.' }]
    : []),
];

const shown = ({ name, code, message, hint }: BlockerRecord): BlockerRecord => ({ name, code, message, hint });

/** What is in the way, of what is in the way of the link. */
const blockersFor = (choice: MethodChoice, { wish }: RestoreRequest, found: readonly BlockerRecord[]): BlockerRecord[] => {
  if (choice.by !== 'NONE') return [];
  if (wish.method === 'REPLICATION_LINK') return found.map(shown);
  const mayAsk = wish.method === null && !wish.keyByKey;
  return found.filter((blocker) => (mayAsk ? !hasWayAround(blocker) : blocksAll(blocker))).map((blocker) => ({
    ...shown(blocker),
    hint: blocksAll(blocker) ? blocker.hint : `${blocker.hint ?? ''} Or make a plan with the method RESTORE_PIPELINE, which leaves replication as it is.`.trimStart(),
  }));
};

/** What is bound to the target, of a plan that is made now. */
export type PlanBasis = Pick<PlanRow, 'id' | 'projectId' | 'keyId' | 'backupId' | 'instanceId' | 'confirmationText' | 'createdAt'> & { safetyBackup: boolean; pauseWrites: boolean };

/** A plan by what was found at the target. It is to be filled by a job when `choice` is to go key by key. */
export const planOn = (
  basis: PlanBasis, request: RestoreRequest, { backup, findings, found, choice, jobId }: { backup: BackupRecord; findings: TargetFindings; found: readonly BlockerRecord[]; choice: MethodChoice; jobId: string | null },
): PlanRow => {
  const { facts } = findings;
  const byKeys = choice.by === 'KEYS';
  const replaces = request.options.flush === 'EVERYTHING';
  const mayFallBack = choice.by === 'LINK' && request.wish.method === null;
  return {
    ...basis, usedAt: null, jobId: byKeys ? jobId : null, state: byKeys ? 'PREPARING' : 'READY', expiresAt: planExpiry(basis.createdAt),
    pauseWrites: basis.pauseWrites && !byKeys,
    disklessLoad: choice.by === 'LINK' && findings.disklessLoadBefore !== null,
    method: choice.by === 'LINK' ? 'REPLICATION_LINK' : null, methodReason: choice.reason, mayFallBack, replacesEverything: replaces,
    targetEngine: facts.engine, targetVersion: facts.version, targetRunId: facts.runId,
    keysNow: facts.keysNow, keysAfter: byKeys ? [] : findings.keysAfter,
    compatibility: findings.compatibility,
    memory: { usedBytes: facts.usedMemory, maxBytes: facts.maxMemory, estimatedBytes: byKeys ? null : findings.estimatedMemory },
    blockers: blockersFor(choice, request, found),
    warnings: byKeys ? [] : [...ownWarnings(backup, { replaces, mayFallBack }), ...findings.warnings.map(({ name, message, hint, mustAccept }) => ({ name, message, hint, mustAccept }))],
    losses: [],
  };
};

const lossesOf = ({ losses }: PipelineFindings, { acceptedLosses }: RestoreOptions): LossRecord[] =>
  losses.map(({ name, what, keys }) => ({ name, message: what, keys: keys ?? null, accepted: acceptedLosses.includes(name) }));

const refused = ({ name, message }: LossRecord): BlockerRecord => ({
  name, code: 'TARGET_BLOCKED', message, hint: `Name it in acceptedLosses to restore the rest, or restore into a server that takes it.`,
});

/** At most so many keys are there then. */
const keysThen = ({ keysNow, selected }: PipelineFindings, { flush, ttl }: RestoreOptions, backup: Pick<BackupRecord, 'databases'>): DatabaseCount[] => {
  const written = new Set(selected.databases.map(({ into }) => into));
  const stays = keysNow.filter(({ database }) => flush === 'NOTHING' || (flush === 'WRITTEN' && !written.has(database)));
  const then = new Map(stays.map((count) => [count.database, { ...count }]));
  for (const { database, into, keys } of selected.databases) {
    const expiring = ttl === 'PERSIST' ? 0n : (backup.databases?.find((count) => count.database === database)?.expiring ?? 0n);
    const known = then.get(into) ?? { database: into, keys: 0n, expiring: 0n };
    then.set(into, { database: into, keys: known.keys + keys, expiring: known.expiring + (expiring < keys ? expiring : keys) });
  }
  return [...then.values()].sort((one, other) => one.database - other.database);
};

const selectionOf = ({ selected, problems }: PipelineFindings): SelectionRecord => ({
  keys: Number(selected.keys), bytes: Number(selected.bytes), expired: Number(selected.expired), byCommands: Number(selected.byCommands), functions: selected.functions,
  databases: selected.databases.map(({ database, into, keys, bytes, expired }) => ({ database, into, keys: Number(keys), bytes: Number(bytes), expired: Number(expired) })),
  types: selected.types.map(({ type, keys, bytes }) => ({ type, keys: Number(keys), bytes: Number(bytes) })),
  sample: selected.sample.map(({ database, into, key, type, expiresAt, bytes }) => ({ database, into, key, type, expiresAtMs: expiresAt === null ? null : (Number.isNaN(expiresAt.getTime()) ? Number.MAX_SAFE_INTEGER : expiresAt.getTime()), bytes: Number(bytes) })),
  comparison: selected.comparison && {
    new: Number(selected.comparison.new), sameType: Number(selected.comparison.sameType), otherType: Number(selected.comparison.otherType), equal: Number(selected.comparison.equal),
    compared: Number(selected.comparison.compared),
  },
  problems: problems.map(({ kind, keys, key }) => ({ blocker: kind, keys, key })),
});

/** A plan with what its job has found out. READY, whatever is in the way. */
export const filledPlan = (
  plan: PlanRow, options: RestoreOptions, { backup, findings, gate, at }: { backup: BackupRecord; findings: PipelineFindings; gate: EngineGate; at: Date },
): { plan: PlanRow; detail: PlanDetailRecord } => {
  const { facts, selected } = findings;
  const losses = lossesOf(findings, options);
  const blockers = [...ownBlockers(gate, facts, plan).map(shown), ...findings.blockers.map(({ name, code, message, hint }) => ({ name, code, message, hint })), ...losses.filter(({ accepted }) => !accepted).map(refused)];
  const toWrite = selected.keys - selected.expired;
  const method = options.commandsOnly || (toWrite > 0n && selected.byCommands >= toWrite) ? 'LOGICAL_COMMANDS' : 'RESTORE_PIPELINE';
  const noPayload = method === 'LOGICAL_COMMANDS' && !options.commandsOnly ? ' The target knows none of the payloads of these keys, so they are made by commands.' : '';
  return {
    detail: { options, selected: selectionOf(findings) },
    plan: {
      ...plan, state: 'READY', expiresAt: planExpiry(at), method: blockers.length > 0 ? null : method, methodReason: `${plan.methodReason}${noPayload}`,
      targetEngine: facts.engine, targetVersion: facts.version, targetRunId: facts.runId, keysNow: findings.keysNow, keysAfter: keysThen(findings, options, backup),
      memory: { usedBytes: facts.usedMemory, maxBytes: facts.maxMemory, estimatedBytes: facts.mode === 'CLUSTER' ? null : findings.estimatedMemory },
      blockers, losses,
      warnings: [...ownWarnings(backup, { replaces: plan.replacesEverything, mayFallBack: false }), ...findings.warnings.map(({ name, message, hint, mustAccept }) => ({ name, message, hint, mustAccept }))],
    },
  };
};

/** The plan of a job that has ended without a result. */
export const failPlan = async (tx: Repositories, scope: Scope, jobId: string): Promise<void> => {
  const plan = await tx.plans.ofJob(scope, jobId);
  if (plan?.state === 'PREPARING') await tx.plans.fill({ ...plan, state: 'FAILED' });
};

import { isDeepStrictEqual } from 'node:util';
import { capabilities, type EngineGate, NOTHING_OFF, underGate } from '../domain/capability.js';
import { DomainError } from '../domain/errors.js';
import { authorise, type Principal, reaches } from '../domain/principal.js';
import { DEFAULT_POLICY, nextRun } from '../domain/schedule.js';
import { type ProbeReport } from '../domain/server-report.js';
import { type HostPort } from '../domain/source.js';
import { type Clock, type Endpoint } from '../engine/ports.js';
import { type InstanceApi, type RegisterInstance, type UpdateInstance } from './api.js';
import { givenFields, noted } from './audit.js';
import { type BackupStarter, instanceBusy } from './backup-start.js';
import { endpointOf, openEndpoint, openSecrets, sealSecrets } from './endpoint.js';
import { addressAlone, checkRegistration, mergeChange, tlsRecord, tlsSecrets } from './instance-input.js';
import { checkFilter } from './lookup.js';
import { pageQuery, toPage } from './pagination.js';
import { once, recalled, repeated } from './idempotency.js';
import { inOrder } from './order.js';
import { type Database, type EnginePort, type Ids, type InstanceSecrets, type Repositories, type SyncDelayHoldRow, type Vault, type WorkQueue } from './ports.js';
import { lockedInstance, protectedInstance } from './protected-instance.js';
import { type CapabilitiesRecord, type InstanceRecord, type PolicyRecord, type RestoreRecord, type ServerFactsRecord } from './records.js';
import { RETENTION_DAYS } from '../domain/retention.js';
import { type ScheduleTime } from './schedule-time.js';
import { type SlotPlanner } from './slots.js';

export interface InstanceServiceDeps {
  db: Database;
  engine: EnginePort;
  vault: Vault;
  gate: EngineGate;
  ids: Ids;
  clock: Clock;
  time: ScheduleTime;
  queue: WorkQueue;
  slots: SlotPlanner;
  backups: BackupStarter;
  defaultTimeZone: string;
}

export const serverFacts = (report: ProbeReport, probedAt: Date): ServerFactsRecord => ({
  probedAt,
  engine: report.engine,
  version: report.version,
  runId: report.runId,
  role: report.role,
  mode: report.mode,
  usedMemoryBytes: report.usedMemoryBytes,
  maxMemoryBytes: report.maxMemoryBytes,
  maxMemoryPolicy: report.maxMemoryPolicy,
  keys: report.keys,
  databases: report.databases,
  persistence: { appendOnly: report.persistence.appendOnly, saveRules: report.persistence.saveRules, rdbChecksum: report.persistence.rdbChecksum },
  rdbVersion: report.rdbVersion,
  connectedReplicas: report.connectedReplicas,
  slots: report.slots,
  rights: report.rights,
});

const nameTaken = (name: string): DomainError =>
  new DomainError('NAME_TAKEN', `The project already has an instance named "${name}".`, { hint: 'Choose another name.', field: ['name'] });

const sameServer = (caller: Principal, other: InstanceRecord): DomainError =>
  reaches(caller, other.id)
    ? new DomainError('CONFLICT', `This server is already registered as "${other.name}" (${other.id}).`, { hint: 'Use that instance, or remove it first.', details: { instanceId: other.id } })
    : new DomainError('CONFLICT', 'This server is already registered as another instance of the project.', { hint: 'Ask an administrator of the project.' });

/** Two callers at once: the second one looked at an instance that is no longer so. */
const changedMeanwhile = (instance: InstanceRecord): DomainError =>
  new DomainError('CONFLICT', `"${instance.name}" was changed by somebody else meanwhile.`, { hint: 'Look at it again, then repeat the call.', retryable: true });

/** As for a target: without its credentials nobody here could put it back. */
const unsettledDelay = (instance: InstanceRecord, { host, port, before, ours }: SyncDelayHoldRow): DomainError =>
  new DomainError('CONFIRMATION_REQUIRED', `A backup of "${instance.name}" was cut off while ${host}:${port} had a repl-diskless-sync-delay of ${ours} instead of ${before}; the server has not answered since, and may still have it.`, {
    hint: `Bring the server back: it is settled as soon as it answers. If it is gone for good, or you run CONFIG SET repl-diskless-sync-delay ${before} there yourself, repeat the call with abandonTarget.`,
    field: ['abandonTarget'],
  });

/** Without its credentials nobody here could let the server go any more. */
const unsettledTarget = (instance: InstanceRecord, restore: RestoreRecord): DomainError =>
  new DomainError('CONFIRMATION_REQUIRED', `"${instance.name}" is the target of restore ${restore.id}, which was cut off; the server has not answered since, and may still follow a listener that is gone.`, {
    hint: 'Bring the server back: it is settled as soon as it answers. If it is gone for good, or you send it REPLICAOF NO ONE yourself, repeat the call with abandonTarget.',
    field: ['abandonTarget'],
  });

export const createInstanceService = (deps: InstanceServiceDeps): InstanceApi => {
  const { db, engine, vault, gate, ids, clock, queue } = deps;
  // The operator's rules are no fact about the server: they are put over what is stored whenever it is shown, so that a change of them holds at once.
  const judge = (report: ProbeReport, acceptPartial: boolean): CapabilitiesRecord => capabilities(report, NOTHING_OFF, { acceptPartial });
  const shown = (instance: InstanceRecord): InstanceRecord => ({ ...instance, capabilities: underGate(instance.capabilities, instance.server, gate) });

  /** What can be told of a replica when it is named is said then, not night after night in the jobs. */
  const prove = async (endpoint: Endpoint, replica: HostPort, master: ProbeReport): Promise<void> => {
    if (master.role === 'REPLICA') throw new DomainError('BAD_INPUT', 'This server is a replica itself, and is read as it is.', { hint: 'Leave "replica" out, or register its master.', field: ['replica'] });
    await engine.proveReplica(endpoint, replica, master).catch((error: unknown) => {
      if (!(error instanceof DomainError)) throw error;
      const { code, message, hint, retryable, details } = error;
      throw new DomainError(code, message, { ...(hint === undefined ? {} : { hint }), retryable, details, field: ['replica'], cause: error });
    });
  };

  return {
    async get(caller, id) {
      authorise(caller, 'read');
      const instance = await db.read.instances.get(caller, id);
      return instance && shown(instance);
    },

    async getMany(caller, idList) {
      authorise(caller, 'read');
      return inOrder(idList, (await db.read.instances.getMany(caller, idList)).map(shown), ({ id }) => id);
    },

    async list(caller, filter, page) {
      authorise(caller, 'read');
      const query = pageQuery('instances', page);
      const { items, more } = await db.read.instances.list(caller, checkFilter(filter), query);
      return toPage('instances', query, { items: items.map(shown), more }, () => db.read.instances.count(caller, filter));
    },

    async register(caller, input) {
      authorise(caller, 'extend');
      checkRegistration(input);
      const call = { mutation: 'registerInstance', key: input.idempotencyKey, input: withoutSecrets(input), at: clock.now() };
      const earlier = await repeated(db.read, caller, call);
      if (earlier) return shown(recalled(await db.read.instances.get(caller, earlier['instance'] ?? '')));
      const secrets: InstanceSecrets = { password: input.password ?? null, tls: input.tls ? tlsSecrets(input.tls) : null };
      const address = { host: input.host, port: input.port, username: input.username ?? null, tls: input.tls ? tlsRecord(input.tls) : null };
      // Looked up first so that a taken name is said without dialling anything; the transaction decides.
      if (await db.read.instances.findProtectedByName(caller, input.name)) throw nameTaken(input.name);
      const endpoint = endpointOf(address, secrets);
      const replica = addressAlone(input.replica);
      const report = await engine.probe(endpoint);
      if (replica) await prove(endpoint, replica, report);
      const now = clock.now();
      const instance: InstanceRecord = {
        ...address,
        id: ids.make('instance'),
        projectId: caller.projectId,
        name: input.name,
        hasPassword: secrets.password !== null,
        acceptPartial: input.acceptPartial,
        sourcePreference: input.sourcePreference,
        replica,
        skipSyncDelay: input.skipSyncDelay,
        createdAt: now,
        updatedAt: now,
        removedAt: null,
        server: serverFacts(report, now),
        capabilities: judge(report, input.acceptPartial),
      };
      const schedule = { ...DEFAULT_POLICY, timeZone: deps.defaultTimeZone };
      const policy: PolicyRecord = {
        ...schedule, id: ids.make('policy'), projectId: caller.projectId, instanceId: instance.id, retentionDays: RETENTION_DAYS, updatedAt: now,
        nextRunAt: nextRun(schedule, instance.id, await deps.time(db.read)),
      };
      const registered = await db.transaction((tx) => once(tx, caller, { ...call, ids: { instance: instance.id } }, async () => {
        await tx.instances.lockProject(caller);
        if (await tx.instances.findProtectedByName(caller, input.name)) throw nameTaken(input.name);
        await refuseSameServer(tx, caller, instance);
        await tx.instances.insert(instance, sealSecrets(vault, instance, secrets));
        await tx.policies.insert(policy);
        await noted(tx, caller, { action: 'INSTANCE_REGISTERED', objectId: instance.id, instanceId: instance.id, details: { name: instance.name, host: instance.host, port: instance.port }, at: now });
        return instance;
      }, async ({ instance: id = '' }) => recalled(await tx.instances.get(caller, id))));
      if (registered.id === instance.id) await queue.schedulePolicy(policy.id, policy.nextRunAt);
      return shown(registered);
    },

    async update(caller, input) {
      authorise(caller, 'operate');
      const call = { mutation: 'updateInstance', key: input.idempotencyKey, input: withoutSecrets(input), at: clock.now() };
      const earlier = await repeated(db.read, caller, call);
      if (earlier) return shown(recalled(await db.read.instances.get(caller, earlier['instance'] ?? '')));
      const known = await protectedInstance(db.read, caller, input.instanceId);
      const planned = mergeChange(known, await openSecrets(vault, db.read, known), input);
      const dialled = endpointOf(planned.instance, planned.secrets);
      const report = planned.redial || planned.proof ? await engine.probe(dialled) : undefined;
      if (report && planned.proof && planned.instance.replica) await prove(dialled, planned.instance.replica, report);
      const now = clock.now();
      return db.transaction((tx) => once(tx, caller, { ...call, ids: { instance: known.id } }, async () => {
        await tx.instances.lockProject(caller);
        const current = await lockedInstance(tx, caller, input.instanceId);
        // Anew, over what may have been changed during the probe; what was probed must still be what is stored.
        const { instance, secrets, redial, proof } = mergeChange(current, await openSecrets(vault, tx, current), input);
        if (redial !== planned.redial || proof !== planned.proof || (report && !isDeepStrictEqual(endpointOf(instance, secrets), dialled))) throw changedMeanwhile(current);
        const sameName = await tx.instances.findProtectedByName(caller, instance.name);
        if (sameName && sameName.id !== instance.id) throw nameTaken(instance.name);
        const saved: InstanceRecord = {
          ...instance,
          updatedAt: now,
          server: report ? serverFacts(report, now) : current.server,
          capabilities: report ? judge(report, instance.acceptPartial) : current.capabilities,
        };
        if (report) {
          await refuseSameServer(tx, caller, saved);
          await refuseMoveAtWork(tx, current, saved);
        }
        await tx.instances.save(saved, input.password === undefined && input.tls === undefined ? undefined : sealSecrets(vault, saved, secrets));
        await noted(tx, caller, { action: 'INSTANCE_UPDATED', objectId: saved.id, instanceId: saved.id, details: { fields: givenFields(input) }, at: now });
        return shown(saved);
      }, async ({ instance: id = '' }) => shown(recalled(await tx.instances.get(caller, id)))));
    },

    async remove(caller, { instanceId, deleteBackups, abandonTarget, idempotencyKey: key }) {
      authorise(caller, 'operate');
      const now = clock.now();
      const call = { mutation: 'removeInstance', key, input: { instanceId, deleteBackups, abandonTarget }, ids: {}, at: now };
      const { removed, jobIds, policyId } = await db.transaction((tx) => once<Removal>(tx, caller, call, async () => {
        await tx.instances.lockProject(caller);
        await protectedInstance(tx, caller, instanceId);
        const [known] = await tx.policies.getByInstances(caller, [instanceId]);
        const policy = known && (await tx.policies.lock(known.id));
        // Its instant has come, so it has a slot; that nobody will run it is for the record.
        if (policy) await deps.slots.recordDue(tx, policy, await deps.time(tx));
        const instance = await lockedInstance(tx, caller, instanceId);
        const [running] = await tx.jobs.runningByInstance(caller, [instanceId]);
        if (running) throw instanceBusy(instance, running);
        const unsettled = await tx.restores.unsettledInto(caller, instanceId);
        if (unsettled && !abandonTarget) throw unsettledTarget(instance, unsettled);
        const held = await tx.syncDelays.leftOn(caller, instanceId);
        if (held && !abandonTarget) throw unsettledDelay(instance, held);
        await tx.syncDelays.abandon(caller, instanceId);
        // Its backups stay, its credentials do not: nothing will log in there again.
        const gone = { ...instance, hasPassword: false, removedAt: now, updatedAt: now };
        await tx.instances.save(gone, null);
        if (policy) await tx.policies.save({ ...policy, nextRunAt: null, updatedAt: now });
        const deletions = deleteBackups ? await deps.backups.deleteAllOf(tx, caller, instanceId, now) : [];
        await noted(tx, caller, { action: 'INSTANCE_REMOVED', objectId: instanceId, instanceId, details: { name: gone.name, deleteBackups, abandonTarget }, at: now });
        return { removed: gone, jobIds: deletions, policyId: policy?.id };
      }, async () => ({ removed: recalled(await tx.instances.get(caller, instanceId)), jobIds: [], policyId: undefined })));
      if (policyId) await queue.schedulePolicy(policyId, null);
      for (const jobId of jobIds) await queue.enqueueJob(jobId);
      return shown(removed);
    },

    async probe(caller, { instanceId, idempotencyKey: key }) {
      authorise(caller, 'operate');
      const call = { mutation: 'probeInstance', key, input: { instanceId }, ids: {}, at: clock.now() };
      const recall = async (repositories: Repositories): Promise<InstanceRecord> => shown(recalled(await repositories.instances.get(caller, instanceId)));
      if (await repeated(db.read, caller, call)) return recall(db.read);
      const instance = await protectedInstance(db.read, caller, instanceId);
      const report = await engine.probe(await openEndpoint(vault, db.read, instance));
      const facts = { server: serverFacts(report, clock.now()), capabilities: judge(report, instance.acceptPartial) };
      return db.transaction((tx) => once(tx, caller, call, async () => {
        if (await tx.instances.saveFacts(instance, facts)) return shown({ ...instance, ...facts });
        throw changedMeanwhile(await protectedInstance(tx, caller, instanceId));
      }, () => recall(tx)));
    },
  };
};

/** What a removal leaves to be told to the queue. */
interface Removal {
  removed: InstanceRecord;
  jobIds: string[];
  policyId: string | undefined;
}

/** What has to be equal for the same idempotency key; a digest of secrets is not to lie about. */
const withoutSecrets = ({ password, tls, idempotencyKey: _key, ...input }: RegisterInstance | UpdateInstance): Readonly<Record<string, unknown>> =>
  ({ ...input, password: password == null ? password : 'given', tls: tls == null ? tls : 'given' });

/** CONFLICT when another instance of the project is this server, by its process, or leads to it, by its address. */
const refuseSameServer = async (tx: Repositories, caller: Principal, instance: InstanceRecord): Promise<void> => {
  const others = [await tx.instances.findProtectedByRunId(instance, instance.server.runId), await tx.instances.findProtectedByAddress(instance, instance)];
  const other = others.find((found) => found && found.id !== instance.id);
  if (other) throw sameServer(caller, other);
};

/** Running work, and its settling after a crash, belongs to the server it began on. A new credential for the same one is fine, at any time. */
const refuseMoveAtWork = async (tx: Repositories, from: InstanceRecord, to: InstanceRecord): Promise<void> => {
  if ((from.host === to.host && from.port === to.port) || from.server.runId === to.server.runId) return;
  const [running] = await tx.jobs.runningByInstance(from, [from.id]);
  if (running) throw instanceBusy(from, running);
  const held = await tx.syncDelays.leftOn(from, from.id);
  if (!held) return;
  throw new DomainError('CONFLICT', `${held.host}:${held.port} may still have a repl-diskless-sync-delay of ${held.ours} instead of ${held.before}, which a backup that was cut off could not put back; from elsewhere it cannot be reached any more.`, {
    hint: 'Bring that server back: it is settled as soon as it answers. If it is gone for good, remove the instance with abandonTarget, and register the new server.',
  });
};

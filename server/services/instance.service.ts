import { capabilities, type EngineGate } from '../domain/capability.js';
import { DomainError } from '../domain/errors.js';
import { authorise } from '../domain/principal.js';
import { DEFAULT_POLICY, nextRun } from '../domain/schedule.js';
import { type ProbeReport } from '../domain/server-report.js';
import { type Clock } from '../engine/ports.js';
import { type InstanceApi, type RegisterInstance, type TlsChange, type UpdateInstance } from './api.js';
import { type BackupStarter } from './backup-start.js';
import { endpointOf, NO_SECRETS, openEndpoint, openSecrets, sealSecrets } from './endpoint.js';
import { checkFilter, lookUp, shownId } from './lookup.js';
import { checkName, checkText } from './names.js';
import { pageQuery, toPage } from './pagination.js';
import { inOrder } from './order.js';
import { type Database, type EnginePort, type Ids, type InstanceSecrets, type Repositories, type Scope, type Vault, type WorkQueue } from './ports.js';
import { type CapabilitiesRecord, type InstanceRecord, type InstanceTlsRecord, type PolicyRecord, type ServerFactsRecord } from './records.js';
import { RETENTION_DAYS } from '../domain/retention.js';

export interface InstanceServiceDeps {
  db: Database;
  engine: EnginePort;
  vault: Vault;
  gate: EngineGate;
  ids: Ids;
  clock: Clock;
  queue: WorkQueue;
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

const tlsRecord = (tls: TlsChange): InstanceTlsRecord => ({
  serverName: tls.serverName ?? null,
  hasCa: tls.ca != null,
  hasClientCertificate: tls.cert != null,
  insecureSkipVerify: tls.insecureSkipVerify,
});

const checkTls = (tls: TlsChange): void => {
  if ((tls.cert == null) !== (tls.key == null)) {
    throw new DomainError('BAD_INPUT', 'A client certificate needs its key, and the key its certificate.', { field: ['tls', tls.cert == null ? 'cert' : 'key'] });
  }
  for (const name of ['ca', 'cert', 'key'] as const) {
    const pem = tls[name];
    if (pem != null && (pem.length > 65_536 || !pem.includes('-----BEGIN '))) {
      throw new DomainError('BAD_INPUT', `"tls.${name}" must be PEM of at most 64 KiB.`, { field: ['tls', name] });
    }
  }
  if (tls.serverName != null) checkText(tls.serverName, ['tls', 'serverName'], { max: 253, blanks: false });
};

const checkAddress = (host: string, port: number): void => {
  checkText(host, ['host'], { max: 253, blanks: false });
  if (port < 1 || port > 65_535) throw new DomainError('BAD_INPUT', 'A port is from 1 to 65535.', { field: ['port'] });
};

const checkCredential = (username: string | null | undefined, password: string | null | undefined): void => {
  if (username != null) checkText(username, ['username'], { max: 256, blanks: false });
  if (password != null && (password.length < 1 || password.length > 4096)) {
    throw new DomainError('BAD_INPUT', 'A password has 1 to 4096 characters; leave it out for none.', { field: ['password'] });
  }
  if (username != null && password == null) {
    throw new DomainError('BAD_INPUT', 'A user name needs a password.', { field: ['password'] });
  }
};

const nameTaken = (name: string): DomainError =>
  new DomainError('NAME_TAKEN', `The project already has an instance named "${name}".`, { hint: 'Choose another name.', field: ['name'] });

const sameServer = (other: InstanceRecord): DomainError =>
  new DomainError('CONFLICT', `This server is already registered as "${other.name}" (${other.id}).`, {
    hint: 'Use that instance, or remove it first.', details: { instanceId: other.id },
  });

export const missingInstance = (id: string): DomainError => new DomainError('NOT_FOUND', `There is no instance ${shownId(id)}.`, { field: ['instanceId'] });

/** An instance that is still protected, or NOT_FOUND. */
export const protectedInstance = async (repositories: Repositories, scope: Scope, id: string): Promise<InstanceRecord> => {
  const instance = await lookUp('instance', id, () => repositories.instances.get(scope, id));
  if (!instance || instance.removedAt !== null) throw missingInstance(id);
  return instance;
};

export const createInstanceService = (deps: InstanceServiceDeps): InstanceApi => {
  const { db, engine, vault, gate, ids, clock, queue } = deps;
  const judge = (report: ProbeReport, acceptPartial: boolean): CapabilitiesRecord => capabilities(report, gate, { acceptPartial });

  return {
    async get(caller, id) {
      authorise(caller, 'read');
      return db.read.instances.get(caller, id);
    },

    async getMany(caller, idList) {
      authorise(caller, 'read');
      return inOrder(idList, await db.read.instances.getMany(caller, idList), ({ id }) => id);
    },

    async list(caller, filter, page) {
      authorise(caller, 'read');
      const query = pageQuery('instances', page);
      return toPage('instances', query, await db.read.instances.list(caller, checkFilter(filter), query), () => db.read.instances.count(caller, filter));
    },

    async register(caller, input) {
      authorise(caller, 'operate');
      check(input);
      const secrets: InstanceSecrets = {
        password: input.password ?? null,
        tls: input.tls ? { ca: input.tls.ca ?? null, cert: input.tls.cert ?? null, key: input.tls.key ?? null } : null,
      };
      const address = { host: input.host, port: input.port, username: input.username ?? null, tls: input.tls ? tlsRecord(input.tls) : null };
      // Looked up first so that a taken name is said without dialling anything; the transaction decides.
      if (await db.read.instances.findProtectedByName(caller, input.name)) throw nameTaken(input.name);
      const report = await engine.probe(endpointOf(address, secrets));
      const now = clock.now();
      const instance: InstanceRecord = {
        ...address,
        id: ids.make('instance'),
        projectId: caller.projectId,
        name: input.name,
        hasPassword: secrets.password !== null,
        acceptPartial: input.acceptPartial,
        createdAt: now,
        updatedAt: now,
        removedAt: null,
        server: serverFacts(report, now),
        capabilities: judge(report, input.acceptPartial),
      };
      const schedule = { ...DEFAULT_POLICY, timeZone: deps.defaultTimeZone };
      const policy: PolicyRecord = {
        ...schedule, id: ids.make('policy'), projectId: caller.projectId, instanceId: instance.id, retentionDays: RETENTION_DAYS, updatedAt: now,
        nextRunAt: nextRun(schedule, instance.id, now),
      };
      await db.transaction(async (tx) => {
        await tx.instances.lockProject(caller);
        if (await tx.instances.findProtectedByName(caller, input.name)) throw nameTaken(input.name);
        const other = await tx.instances.findProtectedByRunId(caller, report.runId);
        if (other) throw sameServer(other);
        await tx.instances.insert(instance, sealSecrets(vault, instance, secrets));
        await tx.policies.insert(policy);
      });
      await queue.schedulePolicy(policy.id, policy.nextRunAt);
      return instance;
    },

    async update(caller, input) {
      authorise(caller, 'operate');
      const instance = await protectedInstance(db.read, caller, input.instanceId);
      const { changed, secrets, redial } = merge(instance, await openSecrets(vault, db.read, instance), input);
      const report = redial ? await engine.probe(endpointOf(changed, secrets)) : undefined;
      const now = clock.now();
      return db.transaction(async (tx) => {
        await tx.instances.lockProject(caller);
        const current = await protectedInstance(tx, caller, input.instanceId);
        const sameName = await tx.instances.findProtectedByName(caller, changed.name);
        if (sameName && sameName.id !== current.id) throw nameTaken(changed.name);
        const other = report && (await tx.instances.findProtectedByRunId(caller, report.runId));
        if (other && other.id !== current.id) throw sameServer(other);
        const saved: InstanceRecord = {
          ...changed,
          updatedAt: now,
          server: report ? serverFacts(report, now) : current.server,
          capabilities: report ? judge(report, changed.acceptPartial) : current.capabilities,
        };
        await tx.instances.save(saved, sealSecrets(vault, saved, secrets));
        return saved;
      });
    },

    async remove(caller, { instanceId, deleteBackups }) {
      authorise(caller, 'operate');
      const now = clock.now();
      const { removed, jobIds, policyId } = await db.transaction(async (tx) => {
        await tx.instances.lockProject(caller);
        const instance = await protectedInstance(tx, caller, instanceId);
        const [running] = await tx.jobs.runningByInstance(caller, [instanceId]);
        if (running) {
          throw new DomainError('INSTANCE_BUSY', `A ${running.kind.toLowerCase()} works on "${instance.name}" (${running.id}).`, {
            hint: 'Wait for it or cancel it first.', details: { jobId: running.id },
          });
        }
        const gone = { ...instance, removedAt: now, updatedAt: now };
        await tx.instances.save(gone, undefined);
        const [policy] = await tx.policies.getByInstances(caller, [instanceId]);
        if (policy) await tx.policies.save({ ...policy, nextRunAt: null, updatedAt: now });
        const deletions = deleteBackups ? await deps.backups.deleteAllOf(tx, caller, instanceId, now) : [];
        return { removed: gone, jobIds: deletions, policyId: policy?.id };
      });
      if (policyId) await queue.schedulePolicy(policyId, null);
      for (const jobId of jobIds) await queue.enqueueJob(jobId);
      return removed;
    },

    async probe(caller, { instanceId }) {
      authorise(caller, 'operate');
      const instance = await protectedInstance(db.read, caller, instanceId);
      const report = await engine.probe(await openEndpoint(vault, db.read, instance));
      const now = clock.now();
      return db.transaction(async (tx) => {
        const current = await protectedInstance(tx, caller, instanceId);
        const saved = { ...current, server: serverFacts(report, now), capabilities: judge(report, current.acceptPartial) };
        await tx.instances.save(saved, undefined);
        return saved;
      });
    },
  };
};

const check = (input: RegisterInstance): void => {
  checkName(input.name);
  checkAddress(input.host, input.port);
  checkCredential(input.username, input.password);
  if (input.tls) checkTls(input.tls);
};

/** The instance as it is to be; `redial` when what we connect with changes, or what the last probe was judged by. */
const merge = (
  instance: InstanceRecord,
  secrets: InstanceSecrets,
  input: UpdateInstance,
): { changed: InstanceRecord; secrets: InstanceSecrets; redial: boolean } => {
  const changed: InstanceRecord = {
    ...instance,
    name: input.name ?? instance.name,
    host: input.host ?? instance.host,
    port: input.port ?? instance.port,
    username: input.username === undefined ? instance.username : input.username,
    acceptPartial: input.acceptPartial ?? instance.acceptPartial,
    tls: input.tls === undefined ? instance.tls : input.tls ? tlsRecord(input.tls) : null,
  };
  const merged: InstanceSecrets = {
    password: input.password === undefined ? secrets.password : input.password,
    tls: input.tls === undefined ? secrets.tls : input.tls ? { ca: input.tls.ca ?? null, cert: input.tls.cert ?? null, key: input.tls.key ?? null } : NO_SECRETS.tls,
  };
  checkName(changed.name);
  checkAddress(changed.host, changed.port);
  checkCredential(changed.username, merged.password);
  if (input.tls) checkTls(input.tls);
  const redial =
    [input.host, input.port, input.username, input.password, input.tls].some((value) => value !== undefined) || changed.acceptPartial !== instance.acceptPartial;
  return { changed: { ...changed, hasPassword: merged.password !== null }, secrets: merged, redial };
};

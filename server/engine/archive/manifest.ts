import { createHash, createHmac } from 'node:crypto';
import { type CaptureMethod, type Consistency, type Coverage, type Engine, type Trigger } from '../../domain/backup.js';
import { type SourceNode } from '../../domain/source.js';
import { type RdbSummary } from '../rdb/summary.js';
import { canonicalJson, type Json } from './canonical-json.js';
import { type BlockSize, type CipherName, type CodecName, type ManifestVersion } from './layout.js';

export const MANIFEST_FORMAT = 'snapback-archive';

/** Enough to rebuild the catalogue's row from the archive alone. */
export interface BackupIdentity {
  id: string;
  projectId: string;
  /** As the user gave it; never part of a key. */
  name: string;
  trigger: Trigger;
}

/** The server the data came from, as it was then. */
export interface SourceIdentity {
  instanceId: string;
  instanceName: string;
  engine: Engine;
  version: string;
  runId: string;
  /** Null when it is not to be written down. */
  address: { host: string; port: number } | null;
  /** The process that the bytes came from: that server, or a replica in its place. Null: not written down, as before 0.2. */
  node: SourceNode | null;
}

/** The server that wrote the bytes: what its version loads depends on. */
export const writerOf = ({ engine, version, node }: Pick<SourceIdentity, 'engine' | 'version' | 'node'>): { engine: Engine; version: string } => ({ engine, version: node?.version ?? version });

/** How one object of the archive is stored; measured while writing. */
export interface StoredArtifact {
  /** Name below `backups/<id>/`. */
  object: string;
  kind: 'RDB';
  codec: CodecName;
  cipher: CipherName;
  blockSize: BlockSize;
  blockCount: number;
  /** Hex, as in the object's header. */
  salt: string;
  plainSize: bigint;
  storedSize: bigint;
  /** Hex. Of the plain bytes, which are the RDB file. */
  plainSha256: string;
  /** Hex. Of the whole stored object. Null with a cipher, whose tags vouch for every byte; version 1 has it there, too. */
  storedSha256: string | null;
}

/** What an RDB artifact holds, and the position in the replication stream right behind it. */
export interface ArtifactFacts {
  rdb: RdbSummary;
  coverage: Coverage;
  /** Null when the bytes did not come over a replication link. */
  replication: { id: string; offset: bigint } | null;
}

/** What the writer cannot know by itself; handed in when all bytes have been read and checked. */
export interface ManifestFacts extends ArtifactFacts {
  /** `id` comes from the writer. */
  backup: Omit<BackupIdentity, 'id'>;
  source: SourceIdentity;
  capture: { method: CaptureMethod; consistency: Consistency };
  /** When the server was first asked for its data. */
  startedAt: Date;
  completedAt: Date;
  createdBy: { software: string; version: string };
}

export type Artifact = StoredArtifact & ArtifactFacts;

/** The last object written and the first removed: an archive without manifest does not exist. */
export interface Manifest {
  formatVersion: ManifestVersion;
  backup: BackupIdentity;
  source: SourceIdentity;
  capture: { method: CaptureMethod; consistency: Consistency };
  /** At least one; the RDB first. */
  artifacts: readonly [Artifact, ...Artifact[]];
  startedAt: Date;
  completedAt: Date;
  createdBy: { software: string; version: string };
  /** `digest`: hex SHA-256 over the canonical JSON without `authentication`; `hmac`: the same under the backup's key, null without one. */
  authentication: { digest: string; hmac: string | null };
  /** Hex SHA-256 of the stored manifest, byte for byte: tells it from every other. Not part of it. */
  sha256: string;
}

export const rdbJson = (rdb: RdbSummary): { readonly [name: string]: Json } => ({
  magic: rdb.magic,
  version: rdb.version,
  aux: rdb.aux,
  databases: rdb.databases.map(({ database, keys, expiring }) => ({ database, keys: String(keys), expiring: String(expiring) })),
  types: rdb.types.map(({ type, keys }) => ({ type, keys: String(keys) })),
  keys: String(rdb.keys),
  expiring: String(rdb.expiring),
  functions: rdb.functions,
  ...(rdb.functionApi === undefined ? {} : { functionApi: rdb.functionApi }),
  rdbTypes: rdb.rdbTypes,
  opcodes: rdb.opcodes,
  modules: rdb.modules,
  hasHashFieldTtl: rdb.hasHashFieldTtl,
  bytes: String(rdb.bytes),
  checksum: rdb.checksum,
  integrity: rdb.integrity,
  unknown: rdb.unknown === null ? null : { kind: rdb.unknown.kind, code: rdb.unknown.code, offset: String(rdb.unknown.offset) },
});

const coverageJson = (coverage: Coverage): Json =>
  coverage.kind === 'INSTANCE' ? { kind: 'INSTANCE' } : { kind: 'SHARD', slots: coverage.slots.map(({ start, end }) => ({ start, end })) };

const artifactJson = (artifact: Artifact): Json => ({
  object: artifact.object,
  kind: artifact.kind,
  codec: artifact.codec,
  cipher: artifact.cipher,
  blockSize: artifact.blockSize,
  blockCount: artifact.blockCount,
  salt: artifact.salt,
  plainSize: String(artifact.plainSize),
  storedSize: String(artifact.storedSize),
  plainSha256: artifact.plainSha256,
  storedSha256: artifact.storedSha256,
  rdb: rdbJson(artifact.rdb),
  coverage: coverageJson(artifact.coverage),
  replication: artifact.replication === null ? null : { id: artifact.replication.id, offset: String(artifact.replication.offset) },
});

const nodeJson = ({ host, port, role, runId, version, behindBytes }: SourceNode): Json => ({
  host, port, role, runId, version, behind: behindBytes === null ? null : String(behindBytes),
});

export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The canonical JSON of all members but `authentication`, unknown ones included. */
const covered = (body: { readonly [name: string]: Json }): string =>
  canonicalJson(Object.fromEntries(Object.entries(body).filter(([name]) => name !== 'authentication')));

export const manifestDigest = (body: { readonly [name: string]: Json }): string => createHash('sha256').update(covered(body), 'utf8').digest('hex');

export const manifestHmac = (body: { readonly [name: string]: Json }, key: Uint8Array): string => createHmac('sha256', key).update(covered(body), 'utf8').digest('hex');

/**
 * Builds the manifest and the bytes to store: canonical JSON in UTF-8, nothing behind it.
 * @param key of its HMAC; null: it gets none
 */
export const encodeManifest = (backupId: string, stored: StoredArtifact, facts: ManifestFacts, key: Uint8Array | null): { manifest: Manifest; bytes: Buffer } => {
  const { rdb, coverage, replication, backup, source, capture, startedAt, completedAt, createdBy } = facts;
  const artifact: Artifact = { ...stored, rdb, coverage, replication };
  const identity: BackupIdentity = { id: backupId, projectId: backup.projectId, name: backup.name, trigger: backup.trigger };
  const formatVersion: ManifestVersion = stored.storedSha256 === null ? 2 : 1;
  const body = {
    format: MANIFEST_FORMAT,
    formatVersion,
    backup: { ...identity },
    source: {
      instanceId: source.instanceId,
      instanceName: source.instanceName,
      engine: source.engine,
      version: source.version,
      runId: source.runId,
      address: source.address === null ? null : { host: source.address.host, port: source.address.port },
      ...(source.node ? { node: nodeJson(source.node) } : {}),
    },
    capture: { method: capture.method, consistency: capture.consistency },
    artifacts: [artifactJson(artifact)],
    startedAt: startedAt.toISOString(),
    completedAt: completedAt.toISOString(),
    createdBy: { software: createdBy.software, version: createdBy.version },
  } satisfies Json;
  const authentication = { digest: manifestDigest(body), hmac: key && manifestHmac(body, key) };
  const bytes = Buffer.from(canonicalJson({ ...body, authentication }), 'utf8');
  return {
    manifest: {
      formatVersion, backup: identity, source, capture, artifacts: [artifact], startedAt, completedAt, createdBy, authentication,
      sha256: sha256Of(bytes),
    },
    bytes,
  };
};

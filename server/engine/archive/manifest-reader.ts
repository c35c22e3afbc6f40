import { timingSafeEqual } from 'node:crypto';
import { CAPTURE_METHODS, CONSISTENCIES, ENGINES, INTEGRITIES, KEY_TYPES, TRIGGERS, type Coverage } from '../../domain/backup.js';
import { DomainError } from '../../domain/errors.js';
import { type SourceNode } from '../../domain/source.js';
import { FUNCTION_APIS } from '../rdb/functions.js';
import { type RdbSummary } from '../rdb/summary.js';
import { type Store } from '../store/store.js';
import { corrupt, unsupported } from './archive-errors.js';
import { canonicalJson, type Json } from './canonical-json.js';
import { Field, FieldError, UnknownNameError } from './json-fields.js';
import {
  BLOCK_SIZES, CIPHER_IDS, CODEC_IDS, MANIFEST_VERSIONS, blocksOf, manifestKey, type CipherName, type CodecName, type ManifestVersion,
} from './layout.js';
import { loadBackupKey, manifestKeyFrom, type KeyRing } from './keys.js';
import { assertAsKnown, assertKnownManifest, type KnownArchive } from './known-archive.js';
import { MANIFEST_FORMAT, manifestDigest, manifestHmac, sha256Of, type Artifact, type Manifest } from './manifest.js';
import { readWhole } from './whole-object.js';

/** A manifest has a few kilobytes; what is larger is not one. */
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
const HEX_32 = /^[0-9a-f]{64}$/;
const HEX_16 = /^[0-9a-f]{32}$/;

const readRdb = (at: Field): RdbSummary => ({
  magic: at.get('magic').oneOf(['REDIS', 'VALKEY']),
  version: at.get('version').integer(1, 9999),
  aux: Object.fromEntries(Object.keys(at.get('aux').members()).map((name) => [name, at.get('aux').get(name).text()])),
  databases: at.get('databases').list().map((item) => ({
    database: item.get('database').integer(0, 2 ** 32), keys: item.get('keys').count(), expiring: item.get('expiring').count(),
  })),
  types: at.get('types').list().map((item) => ({ type: item.get('type').oneOf(KEY_TYPES), keys: item.get('keys').count() })),
  keys: at.get('keys').count(),
  expiring: at.get('expiring').count(),
  functions: at.get('functions').integer(0, Number.MAX_SAFE_INTEGER),
  functionApi: at.get('functionApi').orAbsent((api) => api.oneOf(FUNCTION_APIS)) ?? undefined,
  rdbTypes: at.get('rdbTypes').list().map((item) => item.integer(0, 255)),
  opcodes: at.get('opcodes').list().map((item) => item.integer(0, 255)),
  modules: at.get('modules').list().map((item) => item.text()),
  hasHashFieldTtl: at.get('hasHashFieldTtl').flag(),
  bytes: at.get('bytes').count(),
  checksum: at.get('checksum').oneOf(['VALID', 'ABSENT']),
  integrity: at.get('integrity').oneOf(INTEGRITIES),
  unknown: at.get('unknown').orNull((unknown) => ({
    kind: unknown.get('kind').oneOf(['TYPE', 'OPCODE']), code: unknown.get('code').integer(0, 255), offset: unknown.get('offset').count(),
  })),
});

const readCoverage = (at: Field): Coverage => {
  if (at.get('kind').oneOf(['INSTANCE', 'SHARD']) === 'INSTANCE') return { kind: 'INSTANCE' };
  return {
    kind: 'SHARD',
    slots: at.get('slots').list().map((range) => ({ start: range.get('start').integer(0, 16_383), end: range.get('end').integer(0, 16_383) })),
  };
};

const readArtifact = (at: Field, version: ManifestVersion): Artifact => {
  const artifact: Artifact = {
    object: at.get('object').text(/^[a-z0-9][a-z0-9.-]{0,63}$/),
    kind: at.get('kind').oneOf(['RDB']),
    codec: at.get('codec').oneOf(Object.keys(CODEC_IDS) as CodecName[]),
    cipher: at.get('cipher').oneOf(Object.keys(CIPHER_IDS) as CipherName[]),
    blockSize: at.get('blockSize').oneOf(BLOCK_SIZES),
    blockCount: at.get('blockCount').integer(1, 2 ** 32 - 1),
    salt: at.get('salt').text(HEX_16),
    plainSize: at.get('plainSize').count(),
    storedSize: at.get('storedSize').count(),
    plainSha256: at.get('plainSha256').text(HEX_32),
    storedSha256: at.get('storedSha256').orNull((digest) => digest.text(HEX_32)),
    rdb: readRdb(at.get('rdb')),
    coverage: readCoverage(at.get('coverage')),
    replication: at.get('replication').orNull((link) => ({ id: link.get('id').text(), offset: link.get('offset').count() })),
  };
  if ((version === 1 || artifact.cipher === 'none') && artifact.storedSha256 === null) throw new FieldError(`${at.path}.storedSha256`, 'a digest, which version 1 always has, and version 2 without a cipher');
  if (blocksOf(Number(artifact.plainSize), artifact.blockSize) !== artifact.blockCount) {
    throw new FieldError(`${at.path}.blockCount`, 'the number of blocks that plainSize has');
  }
  return artifact;
};

const readNode = (at: Field): SourceNode => ({
  host: at.get('host').text(),
  port: at.get('port').integer(1, 65_535),
  role: at.get('role').oneOf(['MASTER', 'REPLICA']),
  runId: at.get('runId').text(),
  version: at.get('version').text(),
  behindBytes: at.get('behind').orNull((behind) => behind.count()),
});

const readAll = (root: Field, formatVersion: ManifestVersion, sha256: string): Manifest => {
  const [first, ...rest] = root.get('artifacts').list().map((artifact) => readArtifact(artifact, formatVersion));
  if (first === undefined) throw new FieldError('artifacts', 'a list of at least one');
  const backup = root.get('backup');
  const source = root.get('source');
  const capture = root.get('capture');
  const createdBy = root.get('createdBy');
  return {
    formatVersion,
    backup: {
      id: backup.get('id').text(), projectId: backup.get('projectId').text(), name: backup.get('name').text(), trigger: backup.get('trigger').oneOf(TRIGGERS),
    },
    source: {
      instanceId: source.get('instanceId').text(),
      instanceName: source.get('instanceName').text(),
      engine: source.get('engine').oneOf(ENGINES),
      version: source.get('version').text(),
      runId: source.get('runId').text(),
      address: source.get('address').orNull((address) => ({ host: address.get('host').text(), port: address.get('port').integer(0, 65_535) })),
      node: source.get('node').orAbsent(readNode),
    },
    capture: { method: capture.get('method').oneOf(CAPTURE_METHODS), consistency: capture.get('consistency').oneOf(CONSISTENCIES) },
    artifacts: [first, ...rest],
    startedAt: root.get('startedAt').time(),
    completedAt: root.get('completedAt').time(),
    createdBy: { software: createdBy.get('software').text(), version: createdBy.get('version').text() },
    authentication: {
      digest: root.get('authentication').get('digest').text(HEX_32),
      hmac: root.get('authentication').get('hmac').orNull((hmac) => hmac.text(HEX_32)),
    },
    sha256,
  };
};

interface Decoded {
  manifest: Manifest;
  /** HMAC of the same bytes under another key. */
  hmacUnder: (key: Uint8Array) => string;
}

/**
 * Checks and reads a stored manifest but for its HMAC. CORRUPT names the member that is wrong; UNSUPPORTED_FORMAT when the version is not
 * ours. Members it does not know are ignored, but the digest covers them. Any byte changed is found: the bytes must be the canonical spelling.
 */
const decodeManifest = (backupId: string, bytes: Uint8Array): Decoded => {
  const key = manifestKey(backupId);
  const damaged = (what: string, cause?: unknown): DomainError => corrupt(key, 'manifest', 0, what, cause);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
  let parsed: Json;
  try {
    parsed = JSON.parse(text) as Json;
  } catch (error) {
    throw damaged('it is not JSON', error);
  }
  let digestIsRight = false;
  try {
    const root = new Field(parsed, '');
    root.get('format').oneOf([MANIFEST_FORMAT]);
    const claimed = root.get('formatVersion').integer(1, 65_535);
    const version = MANIFEST_VERSIONS.find((known) => known === claimed);
    if (version === undefined) throw unsupported(key, `format version ${String(claimed)}`);
    if (!Buffer.from(canonicalJson(parsed), 'utf8').equals(bytes)) throw damaged('it is not in canonical form');
    if (root.get('authentication').get('digest').text(HEX_32) !== manifestDigest(root.members())) throw damaged('its digest is wrong');
    digestIsRight = true;
    const manifest = readAll(root, version, sha256Of(bytes));
    if (manifest.backup.id !== backupId) throw damaged(`it belongs to ${manifest.backup.id}`);
    return { manifest, hmacUnder: (secret) => manifestHmac(root.members(), secret) };
  } catch (error) {
    // An undamaged manifest with a word unknown here was written by a newer version.
    if (digestIsRight && error instanceof UnknownNameError) throw unsupported(key, `an unknown value: ${error.message}`);
    if (error instanceof FieldError || error instanceof RangeError) throw damaged(error.message, error);
    throw error;
  }
};

export interface ReadManifestOptions {
  /** Master keys; without the right one an encrypted archive is KEY_UNAVAILABLE. */
  keys?: KeyRing | undefined;
  /** What the archive has to be, where that is written down elsewhere: any other in its place is CORRUPT. */
  known?: KnownArchive | undefined;
  signal?: AbortSignal | undefined;
}

const storedManifest = async (store: Store, backupId: string, signal?: AbortSignal): Promise<Buffer> => {
  const key = manifestKey(backupId);
  const bytes = await readWhole(store, key, MAX_MANIFEST_BYTES, signal);
  if (bytes === null) throw new DomainError('NOT_FOUND', `There is no archive ${backupId} in ${store.location}.`);
  if (bytes.length > MAX_MANIFEST_BYTES) throw corrupt(key, 'manifest', MAX_MANIFEST_BYTES, 'it is far too large');
  return bytes;
};

/** A checked manifest and the key of its archive, null for one that is not encrypted. For those who read the data too. */
export const openManifest = async (store: Store, backupId: string, { keys, known, signal }: ReadManifestOptions = {}): Promise<{ manifest: Manifest; backupKey: Uint8Array | null }> => {
  const key = manifestKey(backupId);
  const bytes = await storedManifest(store, backupId, signal);
  // Before anything in it is believed, its version included, and before its key is asked for: whose archive it is shows without.
  if (known) assertKnownManifest(key, bytes, known);
  const { manifest, hmacUnder } = decodeManifest(backupId, bytes);
  if (known) assertAsKnown(key, manifest, known);
  const { hmac } = manifest.authentication;
  const encrypted = manifest.artifacts.some(({ cipher }) => cipher !== 'none');
  if (encrypted !== (hmac !== null)) throw corrupt(key, 'manifest', 0, encrypted ? 'it has no HMAC' : 'it has an HMAC, but nothing is encrypted');
  if (hmac === null) return { manifest, backupKey: null };
  const backupKey = await loadBackupKey(store, keys, { backupId, artifact: manifest.artifacts[0].object }, signal);
  if (!timingSafeEqual(Buffer.from(hmac, 'hex'), Buffer.from(hmacUnder(manifestKeyFrom(backupKey)), 'hex'))) throw corrupt(key, 'manifest', 0, 'its HMAC is wrong');
  return { manifest, backupKey };
};

/**
 * Reads the manifest of a sealed archive. NOT_FOUND when there is none, which is also what an unsealed one looks like; CORRUPT;
 * UNSUPPORTED_FORMAT; KEY_UNAVAILABLE; else the store's errors.
 */
export const readManifest = async (store: Store, backupId: string, options: ReadManifestOptions = {}): Promise<Manifest> =>
  (await openManifest(store, backupId, options)).manifest;

/**
 * As `readManifest`, without a key: all is checked but the HMAC, so that it may be anybody's. For showing people what there seems to be, and which
 * master key would open it.
 */
export const readManifestUnproven = async (store: Store, backupId: string, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<Manifest> =>
  decodeManifest(backupId, await storedManifest(store, backupId, signal)).manifest;

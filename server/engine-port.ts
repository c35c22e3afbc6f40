import { addressOf } from './domain/address.js';
import { type EngineGate } from './domain/capability.js';
import { openArchive, readManifest, type KeyRing } from './engine/archive/archive.js';
import { openControl } from './engine/control.js';
import { type Dial, type Log } from './engine/ports.js';
import { probe } from './engine/probe/probe.js';
import { LOSS_NAMES } from './engine/rdb/losses.js';
import { proveReplica } from './engine/source/replica.js';
import { type Store } from './engine/store/store.js';
import { rdbFactsOf } from './engine/target/archive-source.js';
import { inspectTarget, type LinkPlace } from './engine/target/check.js';
import { type EnginePort } from './services/ports.js';

/** What the services ask of the engine, put together. */
export const createEnginePort = (deps: { dial: Dial; log: Log; store: Store; keys: KeyRing; link: LinkPlace; gate: EngineGate }): EnginePort => ({
  probe: (endpoint) => probe(endpoint, deps),
  async proveReplica(endpoint, replica, master) {
    await proveReplica({ ...endpoint, ...replica }, { ...master, address: addressOf(endpoint) }, deps, { allows: (engine, version) => !deps.gate.isOff(engine, version) });
  },
  async inspectTarget(endpoint, { backupId, known }, options) {
    const manifest = await readManifest(deps.store, backupId, { keys: deps.keys, known });
    const control = await openControl(endpoint, deps);
    try {
      return await inspectTarget(control, rdbFactsOf(manifest), { ...options, link: deps.link });
    } finally {
      control.close();
    }
  },
  lossNames: LOSS_NAMES,
  async storeHealth() {
    const { kind, location } = deps.store;
    const { writable, freeBytes } = await deps.store.check();
    return { kind, location, writable, freeBytes };
  },
  async openArchive({ backupId, known }) {
    const archive = await openArchive(deps.store, backupId, { keys: deps.keys, known });
    return { read: (range, signal) => archive.read({ ...range, signal }), close: () => archive.close() };
  },
});

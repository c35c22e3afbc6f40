/** Versions of the scripted servers: Redis 2.8 and 4.0 cannot be had as packages any more. */
export type LegacyVersion = '2.8.24' | '4.0.14';

/** What sets the versions apart, as far as a backup or a restore meets it. */
export interface LegacyProfile {
  /** Of the files it writes, and the newest it loads. */
  rdbVersion: number;
  /** `master_replid` in INFO; its own id in PSYNC; a new id with the first replica (from 4.0). */
  replicationIds: boolean;
  /** `maxmemory` and `total_system_memory` in INFO. */
  memoryLimitsInInfo: boolean;
  /** CLIENT PAUSE for all commands; the WRITE mode came with 6.2. */
  clientPause: boolean;
  /** Whether REPLCONF GETACK is answered at once; the acknowledgement each second comes anyway. */
  answersGetAck: boolean;
  /** Options it takes from a replica. It gives `-ERR` to others. */
  replconf: readonly string[];
  /** Commands of its handshake as a replica between AUTH and PSYNC. */
  handshake: readonly string[];
  modules: boolean;
}

export const PROFILES: Readonly<Record<LegacyVersion, LegacyProfile>> = {
  '2.8.24': {
    rdbVersion: 6, replicationIds: false, memoryLimitsInInfo: false, clientPause: false, answersGetAck: false, modules: false,
    replconf: ['listening-port'], handshake: ['REPLCONF listening-port 6379'],
  },
  '4.0.14': {
    rdbVersion: 8, replicationIds: true, memoryLimitsInInfo: true, clientPause: true, answersGetAck: true, modules: true,
    replconf: ['listening-port', 'ip-address', 'capa'], handshake: ['REPLCONF listening-port 6379', 'REPLCONF capa eof capa psync2'],
  },
};

/** PREFER_REPLICA: from a replica that is proven to be one, else from the master. MASTER: from the registered server alone, whatever its role. */
export const SOURCE_PREFERENCES = ['PREFER_REPLICA', 'MASTER'] as const;
export type SourcePreference = (typeof SOURCE_PREFERENCES)[number];

/** A place in the network. */
export interface HostPort {
  host: string;
  port: number;
}

/** The server process that a backup's data was read from. */
export interface SourceNode extends HostPort {
  role: 'MASTER' | 'REPLICA';
  runId: string;
  version: string;
  /**
   * Of a replica that was read in its master's place: bytes of the replication stream that it lacked when it was first looked at. It was read
   * when it had all that its master had before. Null for the registered server itself.
   */
  behindBytes: bigint | null;
}

/** Both halves have 64 bits. */
export interface StreamId {
  ms: bigint;
  seq: bigint;
}

export const isAfter = (a: StreamId, b: StreamId): boolean => a.ms > b.ms || (a.ms === b.ms && a.seq > b.seq);

export const isZero = ({ ms, seq }: StreamId): boolean => ms === 0n && seq === 0n;

export const idText = ({ ms, seq }: StreamId): string => `${ms}-${seq}`;

import { type InspectedKey, type InspectionRequest, type InspectionResult, type InspectionSummary } from '../domain/inspection.js';
import { type InspectionPart, type Scope, type SecretPlace, type Vault } from './ports.js';

/** Keys in a part. A page of 100 lies in two parts, with one key more. */
const KEYS_IN_PART = 200;

const REQUEST = 'request';
const SUMMARY = 'summary';

export const inspectionPlace = ({ projectId, jobId, name }: Scope & Pick<InspectionPart, 'jobId' | 'name'>): SecretPlace => ({
  projectId, table: 'inspection_parts', column: name, rowId: jobId,
});

/** Whose inspection it is. */
interface Owner extends Scope {
  jobId: string;
}

/** Seals and opens what is kept of inspections, part by part. */
export const inspectionParts = (vault: Vault) => {
  const seal = ({ projectId, jobId }: Owner, name: string, content: unknown): Buffer => vault.seal(inspectionPlace({ projectId, jobId, name }), JSON.stringify(content));
  const open = ({ projectId, jobId }: Owner, name: string, sealed: Buffer): unknown => JSON.parse(vault.open(inspectionPlace({ projectId, jobId, name }), sealed));
  return {
    sealRequest: (owner: Owner, request: InspectionRequest): Buffer => seal(owner, REQUEST, request),
    openRequest: (owner: Owner, sealed: Buffer) => open(owner, REQUEST, sealed) as InspectionRequest,
    sealSummary: (owner: Owner, { keys: _keys, ...summary }: InspectionResult): Buffer => seal(owner, SUMMARY, summary),
    openSummary: (owner: Owner, sealed: Buffer) => open(owner, SUMMARY, sealed) as InspectionSummary,
    *sealKeys(owner: Owner, keys: readonly InspectedKey[]): Generator<InspectionPart & { fromOffset: number }> {
      for (let at = 0; at < keys.length; at += KEYS_IN_PART) {
        const part = keys.slice(at, at + KEYS_IN_PART);
        // Of one width, so that they are in order.
        const name = `keys/${String(at).padStart(9, '0')}`;
        yield { jobId: owner.jobId, name, fromOffset: part[0]?.offset ?? 0, sealed: seal(owner, name, part) };
      }
    },
    openKeys: (owner: Owner, { name, sealed }: InspectionPart) => open(owner, name, sealed) as InspectedKey[],
  };
};

import { type KeyFailureRecord, type PlanDetailRecord } from './records.js';
import { type RestoreDetail, type SecretPlace, type Vault } from './ports.js';

export const restoreDetailPlace = ({ projectId, ownerId }: Omit<RestoreDetail, 'sealed'>): SecretPlace => ({ projectId, table: 'restore_details', column: 'sealed', rowId: ownerId });

type Owner = Omit<RestoreDetail, 'sealed'>;

/** Seals and opens what plans and restores tell of data. */
export const restoreDetails = (vault: Vault) => {
  const seal = (owner: Owner, content: unknown): Buffer => vault.seal(restoreDetailPlace(owner), JSON.stringify(content));
  const open = (owner: Owner, sealed: Buffer): unknown => JSON.parse(vault.open(restoreDetailPlace(owner), sealed));
  return {
    sealPlan: (owner: Owner, detail: PlanDetailRecord): Buffer => seal(owner, detail),
    openPlan: (owner: Owner, sealed: Buffer) => open(owner, sealed) as PlanDetailRecord,
    sealFailures: (owner: Owner, failures: readonly KeyFailureRecord[]): Buffer => seal(owner, failures),
    openFailures: (owner: Owner, sealed: Buffer) => open(owner, sealed) as readonly KeyFailureRecord[],
  };
};

import type { Connection } from './connection.js';
import {
  GetInstanceDocument, GetRecoveryDocument, ListInstancesDocument, ProbeInstanceDocument, RegisterInstanceDocument, RemoveInstanceDocument, UpdateInstanceDocument,
} from './generated/instance.documents.js';
import type {
  InstanceFilter, InstanceFragment, RegisterInstanceInput, RemoveInstanceInput, SlotFilter, SlotFragment,
  UpdateInstanceInput,
} from './generated/operations.js';
import { ListSlotsDocument } from './generated/slot.documents.js';
import { createList, splitListInput, type List, type ListOptions } from './list.js';
import type { Loaded } from './nouns.js';
import type { CallOptions } from './options.js';
import type { Tries } from './outcome.js';
import { found, fulfilled, idOf, keyed, type Ref } from './payload.js';

/** What could be restored of an instance, and whether that is as new as its policy promises. */
export type Recovery = InstanceFragment['recovery'];

export interface InstanceMutations {
  /** Probes a server and stores it; stores nothing when the probe fails. */
  register(input: RegisterInstanceInput, options?: CallOptions): Promise<InstanceFragment>;
  /** What is left out stays. */
  update(input: UpdateInstanceInput, options?: CallOptions): Promise<InstanceFragment>;
  /** Stops protecting an instance. Its backups stay until they expire, unless `deleteBackups`. */
  remove(instance: Ref | RemoveInstanceInput, options?: CallOptions): Promise<InstanceFragment>;
  /** Looks at the server again, now. */
  probe(instance: Ref, options?: CallOptions): Promise<InstanceFragment>;
}

export interface Instances extends InstanceMutations, Tries<InstanceMutations> {
  /** The project's protected instances. */
  list(filter?: InstanceFilter & ListOptions, options?: CallOptions): List<InstanceFragment>;
  /** An instance, removed ones too, or null when there is none. */
  get(instance: Ref, options?: CallOptions): Promise<InstanceFragment | null>;
  /** Its planned backups whose instant has come, by their instants: what started each, or why it was missed. Throws NOT_FOUND when there is no such instance. */
  slots(instance: Ref, filter?: SlotFilter & ListOptions, options?: CallOptions): List<SlotFragment>;
  /** What could be restored of it now; null when there is no such instance. */
  recovery(instance: Ref, options?: CallOptions): Promise<Recovery | null>;
}

export const createInstances = (connection: Connection): Loaded<Instances> => ({
  register: async (input, options) =>
    fulfilled('registerInstance', (await connection.execute(RegisterInstanceDocument, { input }, keyed(options, input))).registerInstance).instance,
  list: (input = {}, options) => {
    const { filter, list } = splitListInput<InstanceFilter>(input);
    return createList('ListInstances', list, async (page) => (await connection.execute(ListInstancesDocument, { filter, ...page }, options)).instances);
  },
  get: async (instance, options) => (await connection.execute(GetInstanceDocument, { id: idOf(instance) }, options)).instance,
  update: async (input, options) =>
    fulfilled('updateInstance', (await connection.execute(UpdateInstanceDocument, { input }, keyed(options, input))).updateInstance).instance,
  remove: async (instance, options) => {
    const input: RemoveInstanceInput = typeof instance === 'object' && 'instanceId' in instance ? instance : { instanceId: idOf(instance) };
    return fulfilled('removeInstance', (await connection.execute(RemoveInstanceDocument, { input }, keyed(options, input))).removeInstance).instance;
  },
  probe: async (instance, options) =>
    fulfilled('probeInstance', (await connection.execute(ProbeInstanceDocument, { input: { instanceId: idOf(instance) } }, keyed(options))).probeInstance).instance,
  slots: (instance, input = {}, options) => {
    const { filter, list } = splitListInput<SlotFilter>(input);
    const instanceId = idOf(instance);
    return createList('ListSlots', list, async (page) => found((await connection.execute(ListSlotsDocument, { instanceId, filter, ...page }, options)).instance, 'such instance').slots);
  },
  recovery: async (instance, options) => (await connection.execute(GetRecoveryDocument, { id: idOf(instance) }, options)).instance?.recovery ?? null,
});

import { Field, ID, InterfaceType, ObjectType } from 'type-graphql';
import { idKind, type IdKind } from '../../domain/ids.js';

/** The object type that an id of each kind names; kinds that no type of the schema has are left out. */
const TYPE_OF: Readonly<Partial<Record<IdKind, string>>> = {
  project: 'Project', instance: 'Instance', policy: 'BackupPolicy', slot: 'Slot', backup: 'Backup', restorePlan: 'RestorePlan', restore: 'Restore', job: 'Job',
  apiKey: 'ApiKey', auditEvent: 'AuditEvent',
};

@InterfaceType({
  resolveType: (value: Node) => {
    const kind = idKind(value.id);
    return kind === undefined ? undefined : TYPE_OF[kind];
  },
})
export abstract class Node {
  @Field(() => ID) id!: string;
}

/** An object type whose fields without a resolver are properties of the record, read by graphql-js itself. */
export const Plain = (): ClassDecorator => ObjectType({ simpleResolvers: true });

/** The same, for what can be fetched again by its id. */
export const PlainNode = (): ClassDecorator => ObjectType({ simpleResolvers: true, implements: Node });

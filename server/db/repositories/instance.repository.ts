import { type EntityManager, In, IsNull, type SelectQueryBuilder } from 'typeorm';
import { reaches } from '../../domain/principal.js';
import { type InstanceRepository, type Scope } from '../../services/ports.js';
import { type InstanceFilter, type InstanceRecord } from '../../services/records.js';
import { InstanceEntity } from '../entities/instance.entity.js';
import { containsText, countUpTo, fetchPage } from './page.js';
import { within } from './scoped.js';

const toRecord = ({ runId: _runId, secrets: _secrets, ...entity }: InstanceEntity): InstanceRecord => entity;
const orNull = (entity: InstanceEntity | null): InstanceRecord | null => (entity ? toRecord(entity) : null);
const toRow = (instance: InstanceRecord) => ({ ...instance, runId: instance.server.runId });

export const createInstanceRepository = (manager: EntityManager): InstanceRepository => {
  const filtered = (scope: Scope, filter: InstanceFilter): SelectQueryBuilder<InstanceEntity> => {
    const query = within(manager.createQueryBuilder(InstanceEntity, 'i').where('i.removedAt IS NULL'), scope, 'i.id');
    if (filter.nameContains) query.andWhere(containsText('i.name', 'name', filter.nameContains));
    if (filter.engine) query.andWhere(`i.server ->> 'engine' = :engine`, { engine: filter.engine });
    return query;
  };
  return {
    get: async (scope, id) => (reaches(scope, id) ? orNull(await manager.findOneBy(InstanceEntity, { projectId: scope.projectId, id })) : null),
    getMany: async (scope, ids) => (await manager.findBy(InstanceEntity, { projectId: scope.projectId, id: In(ids.filter((id) => reaches(scope, id))) })).map(toRecord),
    list: (scope, filter, page) => fetchPage(filtered(scope, filter), page, toRecord),
    count: (scope, filter) => countUpTo(filtered(scope, filter)),
    async lockProject({ projectId }) {
      await manager.query('SELECT 1 FROM projects WHERE id = $1 FOR UPDATE', [projectId]);
    },
    lock: async (scope, id) =>
      orNull(await within(manager.createQueryBuilder(InstanceEntity, 'i').where('i.id = :id', { id }), scope, 'i.id').setLock('for_no_key_update').getOne()),
    findProtectedByName: async ({ projectId }, name) => orNull(await manager.findOneBy(InstanceEntity, { projectId, name, removedAt: IsNull() })),
    findProtectedByRunId: async ({ projectId }, runId) => orNull(await manager.findOneBy(InstanceEntity, { projectId, runId, removedAt: IsNull() })),
    findProtectedByAddress: async ({ projectId }, { host, port }) =>
      orNull(
        await manager
          .createQueryBuilder(InstanceEntity, 'i')
          .where('i.projectId = :projectId AND i.removedAt IS NULL AND i.port = :port AND lower(i.host) = lower(:host)', { projectId, host, port })
          .orderBy('i.createdAt')
          .getOne(),
      ),
    async sealedSecrets({ projectId }, id) {
      const row = await manager.findOne(InstanceEntity, { where: { projectId, id }, select: { id: true, secrets: true } });
      return row?.secrets ?? null;
    },
    async insert(instance, sealed) {
      await manager.insert(InstanceEntity, { ...toRow(instance), secrets: sealed });
    },
    async save({ id, projectId, ...rest }, sealed) {
      const change = { ...rest, runId: rest.server.runId };
      await manager.update(InstanceEntity, { id, projectId }, sealed === undefined ? change : { ...change, secrets: sealed });
    },
    async saveFacts({ id, projectId, updatedAt }, { server, capabilities }) {
      const { affected } = await manager.update(InstanceEntity, { id, projectId, updatedAt, removedAt: IsNull() }, { server, capabilities, runId: server.runId });
      return affected === 1;
    },
    countAll: () => manager.countBy(InstanceEntity, { removedAt: IsNull() }),
  };
};

import { authorise } from '../domain/principal.js';
import { type AuditApi } from './api.js';
import { projectOf } from './api-key.service.js';
import { checkFilter } from './lookup.js';
import { pageQuery, toPage } from './pagination.js';
import { type Database } from './ports.js';

export const createAuditService = ({ db }: { db: Database }): AuditApi => ({
  async get(caller, id) {
    authorise(caller, 'administer');
    return db.read.audit.get(caller, id);
  },

  async list(caller, { projectId, ...filter }, page) {
    authorise(caller, 'administer');
    const scope = await projectOf(db.read, caller, projectId);
    const query = pageQuery('auditEvents', page);
    return toPage('auditEvents', query, await db.read.audit.list(scope, checkFilter(filter), query), () => db.read.audit.count(scope, filter));
  },
});

import { DomainError } from '../domain/errors.js';
import { authorise, may } from '../domain/principal.js';
import { type Clock } from '../engine/ports.js';
import { type ProjectApi } from './api.js';
import { noted } from './audit.js';
import { once, recalled } from './idempotency.js';
import { checkName } from './names.js';
import { pageQuery, toPage } from './pagination.js';
import { type Database, type Ids } from './ports.js';

export interface ProjectServiceDeps {
  db: Database;
  ids: Ids;
  clock: Clock;
}

export const createProjectService = ({ db, ids, clock }: ProjectServiceDeps): ProjectApi => ({
  async get(caller, id) {
    authorise(caller, 'read');
    return id === caller.projectId || may(caller, 'observe') ? db.read.projects.get(id) : null;
  },

  async list(caller, page) {
    authorise(caller, 'observe');
    const query = pageQuery('projects', page);
    return toPage('projects', query, await db.read.projects.list(query), () => db.read.projects.count());
  },

  async create(caller, { name, idempotencyKey: key }) {
    authorise(caller, 'govern');
    checkName(name);
    const project = { id: ids.make('project'), name, createdAt: clock.now() };
    const call = { mutation: 'createProject', key, input: { name }, ids: { project: project.id }, at: project.createdAt };
    return db.transaction((tx) => once(tx, caller, call, async () => {
      if (await tx.projects.insert(project)) {
        await noted(tx, caller, { projectId: project.id, action: 'PROJECT_CREATED', objectId: project.id, details: { name }, at: project.createdAt });
        return project;
      }
      throw new DomainError('NAME_TAKEN', `There is already a project named "${name}".`, { hint: 'Choose another name.', field: ['name'] });
    }, async ({ project: id = '' }) => recalled(await tx.projects.get(id))));
  },
});

import { authorise } from '../domain/principal.js';
import { type SlotApi } from './api.js';
import { pageQuery, toPages } from './pagination.js';
import { type Database } from './ports.js';

export const createSlotService = ({ db }: { db: Database }): SlotApi => ({
  async get(caller, id) {
    authorise(caller, 'read');
    return db.read.slots.get(caller, id);
  },

  async listByInstance(caller, instanceIds, filter, page) {
    authorise(caller, 'read');
    const query = pageQuery('slots', page);
    const pages = await db.read.slots.listByInstance(caller, instanceIds, filter, query);
    return toPages('slots', query, pages, () => db.read.slots.countByInstance(caller, instanceIds, filter));
  },
});

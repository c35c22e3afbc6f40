import { authorise } from '../domain/principal.js';
import { type SlotApi } from './api.js';
import { pageQuery, toPage } from './pagination.js';
import { type Database } from './ports.js';

export const createSlotService = ({ db }: { db: Database }): SlotApi => ({
  async get(caller, id) {
    authorise(caller, 'read');
    return db.read.slots.get(caller, id);
  },

  async listOfInstance(caller, instanceId, filter, page) {
    authorise(caller, 'read');
    const query = pageQuery('slots', page);
    const result = await db.read.slots.list(caller, instanceId, filter, query);
    return toPage('slots', query, result, () => db.read.slots.count(caller, instanceId, filter));
  },
});

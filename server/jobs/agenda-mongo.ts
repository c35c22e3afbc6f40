import { MongoBackend } from '@agendajs/mongo-backend';
import { MongoClient, MongoServerError } from 'mongodb';
import { DomainError } from '../domain/errors.js';
import { type AgendaStore, type Errand, type ErrandData, LocalChannel, POLICY_DUE } from './agenda-store.js';

const COLLECTION = 'agendaJobs';
const DUPLICATE_KEY = 11_000;

interface Row {
  name: string;
  type: 'normal';
  priority: number;
  data: ErrandData;
  nextRunAt: Date | null;
  lockedAt?: Date | null;
  lastModifiedBy?: string | null;
}

/**
 * Opens Agenda's rows in MongoDB (the database named in the URL). Processes learn of each other's rows by polling. A row is
 * replaced in two steps; a crash between them loses it, which the recurring pass mends like every other lost row.
 * Fails with INTERNAL when the server does not answer within 5 seconds. The client mends lost connections itself.
 */
export const openMongoStore = async (mongoUrl: string): Promise<AgendaStore> => {
  const client = new MongoClient(mongoUrl, { serverSelectionTimeoutMS: 5_000, appName: 'snapback-clock' });
  const db = client.db();
  const rows = db.collection<Row>(COLLECTION);
  const backend = new MongoBackend({ mongo: db, collection: COLLECTION });
  try {
    await client.connect();
    await backend.repository.connect();
    await rows.createIndex({ name: 1, 'data.subject': 1 }, { name: 'oneRowPerSubject', unique: true });
  } catch (error) {
    await client.close();
    throw new DomainError('INTERNAL', 'The clock could not reach its MongoDB server.', {
      hint: 'Check MONGODB_URL and that the server accepts connections.', retryable: true, cause: error,
    });
  }

  const channel = new LocalChannel();
  const now = async (): Promise<Date> => {
    const hello: Record<string, unknown> = await db.command({ hello: 1 });
    return hello.localTime instanceof Date ? hello.localTime : new Date();
  };

  return {
    name: backend.name,
    repository: backend.repository,
    channel,
    nudge(errand) {
      void channel.nudge(errand);
    },
    now,
    async put(errand: Errand, subject: string, at: Date | null) {
      const wanted = at ?? await now();
      for (;;) {
        const old = await rows.findOneAndDelete({ name: errand, 'data.subject': subject });
        const waiting = errand === POLICY_DUE ? null : old?.nextRunAt;
        const nextRunAt = waiting && waiting < wanted ? waiting : wanted;
        try {
          await rows.insertOne({ name: errand, type: 'normal', priority: 0, data: { subject }, nextRunAt });
          void channel.nudge(errand);
          return;
        } catch (error) {
          // Somebody else put the subject between the two steps: replace theirs.
          if (!(error instanceof MongoServerError && error.code === DUPLICATE_KEY)) throw error;
        }
      }
    },
    async remove(errand, subject) {
      await rows.deleteMany({ name: errand, 'data.subject': subject });
    },
    async list(errand) {
      const found = await rows.find({ name: errand, nextRunAt: { $ne: null } }).sort({ nextRunAt: 1 }).toArray();
      return found.flatMap(({ data, nextRunAt }) => (nextRunAt ? [{ subject: data.subject, at: nextRunAt }] : []));
    },
    subjects: async (errand) => (await rows.find({ name: errand }).toArray()).map(({ data }) => data.subject),
    async handBack(owner) {
      const held = { lastModifiedBy: owner, lockedAt: { $ne: null } };
      await rows.updateMany({ ...held, nextRunAt: null }, { $set: { nextRunAt: await now() } });
      await rows.updateMany(held, { $unset: { lockedAt: true } });
    },
    close: () => client.close(),
  };
};

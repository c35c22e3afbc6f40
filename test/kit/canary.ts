import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { tapSockets } from './canary-wire.js';
import { SecretIndex } from './secret-index.js';

/*
 * With CANARY=1, which the tests of e2e and some of those of outages have, every service that a test starts is looked through when it ends: no secret that it was given or gave out may
 * stand in what it logged, counted, stored in its database or in the manifests of its archives, or shows of its processes; nor in what it sent meanwhile:
 * answers, frames and events to whatever client, objects to S3, notices. A new key and a new link are told by the answers of these mutations alone, which may
 * tell them again to who repeats its idempotency key.
 */

/** @throws when a secret stands in one of the texts, or in what was sent meanwhile; says where, and not which */
export type LeaveCanary = (of: string, texts: Readonly<Record<string, string>>) => void;

export interface Canary {
  /** Of a service that begins; the answer is called when it has ended. With the last of them its secrets are forgotten: nobody else has them. */
  enter(): LeaveCanary;
  /** From now on this is to be found nowhere. Texts shorter than 10 characters are left out: they stand in other words. */
  hide(secret: string | null | undefined): void;
  /** Whatever comes to this process from there is looked at from now on. A secret that the API gives out is one from then on. */
  hear(url: string): void;
  /** Looks at something as it is sent, but for what of it was looked at before; what is found is told by the next check. */
  sent(where: string, text: string | Uint8Array, seen?: number): void;
  /** The secrets of settings. */
  hideSettings(env: Readonly<Record<string, string | undefined>>): void;
}

const SHORTEST = 10;
/** Settings that are secrets as a whole. */
const SECRET_SETTINGS = ['MASTER_KEY', 'S3_SECRET_ACCESS_KEY', 'S3_SESSION_TOKEN', 'WEBHOOK_SECRET'];
/** Settings that are addresses with secrets in them. */
const SECRET_ADDRESSES = ['DATABASE_URL', 'MONGODB_URL', 'EVENTS_REDIS_URL', 'WEBHOOK_URL'];

/** What of a credential nobody may learn: all of an API key but its id, the signature of a token. */
const secretOfCredential = (credential: string): string => {
  const token = credential.replace(/^bearer +/i, '');
  if (token.startsWith('sb_')) return token.slice(30, 73);
  return token.startsWith('eyJ') ? (token.split('.').at(2) ?? '') : token;
};

const secretsOfAddress = (text: string): string[] => {
  if (!URL.canParse(text)) return [];
  const { password, pathname, searchParams } = new URL(text);
  return [decodeURIComponent(password), ...pathname.split('/').filter((part) => part.length >= 16), ...searchParams.values()];
};

/** @param hear what begins to listen to a port */
export const createCanary = (hear: (port: number) => void = () => undefined): Canary => {
  const secrets = new SecretIndex();
  const hits: string[] = [];
  let services = 0;
  const look = (where: string, text: string, seen?: number): void => {
    for (const at of secrets.find(text, seen)) hits.push(`${where}: …${text.slice(Math.max(0, at - 80), at)}[a secret]…`);
  };
  const hide = (secret: string | null | undefined): void => {
    if (secret != null && secret.length >= SHORTEST) secrets.add(secret);
  };
  return {
    hide,
    enter() {
      services += 1;
      let left = false;
      return (of, texts) => {
        if (!left) services -= 1;
        left = true;
        for (const [where, text] of Object.entries(texts)) look(`${of}, ${where}`, text);
        if (services === 0) secrets.clear();
        if (hits.length > 0) throw new Error(`Secrets were found:\n${hits.splice(0).slice(0, 20).join('\n')}`);
      };
    },
    hideSettings(env) {
      for (const name of SECRET_SETTINGS) for (const secret of env[name]?.split(',') ?? []) hide(secret.trim());
      for (const name of SECRET_ADDRESSES) for (const secret of secretsOfAddress(env[name] ?? '')) hide(secret);
    },
    hear: (url) => hear(Number(new URL(url).port)),
    sent: (where, text, seen) => look(where, typeof text === 'string' ? text : Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString(), seen),
  };
};

const SECRET_INPUTS = new Set(['password', 'key']);

/** All texts in a value, with their names. */
const eachText = (value: unknown, see: (text: string, name: string) => void, name = ''): void => {
  if (typeof value === 'string') see(value, name);
  else if (typeof value === 'object' && value !== null) for (const [inner, held] of Object.entries(value)) eachText(held, see, inner);
};

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
};

/** Listens to what this process asks of services for the secrets that come along: what requests hold, before it is sent, and what answers give out. */
const learn = (canary: Canary): void => {
  const real = globalThis.fetch;
  globalThis.fetch = async (input, init) => {
    const address = input instanceof Request ? input.url : String(input);
    canary.hide(/\/downloads\/[^/?]*\.([\w-]+)/.exec(address)?.[1]);
    if (!new URL(address).pathname.endsWith('/graphql')) return real(input, init);
    canary.hide(secretOfCredential(new Headers(init?.headers).get('authorization') ?? ''));
    if (typeof init?.body === 'string') {
      eachText(parsed(init.body), (text, name) => {
        if (SECRET_INPUTS.has(name)) canary.hide(text.startsWith('-----BEGIN') ? text.split('\n')[1] : text);
      });
    }
    const response = await real(input, init);
    eachText(parsed(await response.clone().text().catch(() => '')), (text, name) => {
      if (name === 'token' && text.startsWith('sb_')) canary.hide(secretOfCredential(text));
      if (text.includes('/downloads/')) canary.hide(text.split('.').at(-1));
    });
    return response;
  };
};

/** All rows of all tables, Agenda's too. */
export const dumpOf = async (databaseUrl: string): Promise<string> => {
  const client = new Client({ connectionString: databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`,
    );
    // One after the other, in one request.
    const rows = (await client.query(tables.map(({ name }) => `SELECT t::text AS row FROM ${name} t`).join('; '))) as unknown as { rows: { row: string }[] }[];
    return rows.flatMap(({ rows: all }, at) => all.map(({ row }) => `${tables[at]?.name ?? ''} ${row}\n`)).join('');
  } finally {
    await client.end();
  }
};

/** The manifests and other small objects of a store in a folder; what holds data is sealed and large. */
export const manifestsIn = async (root: string): Promise<string> => {
  const files = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
  const texts = await Promise.all(files.filter((entry) => entry.isFile() && !/^(?:rdb|index)/.test(entry.name)).map(({ parentPath, name }) => readFile(join(parentPath, name), 'utf8').catch(() => '')));
  return texts.join('\n');
};

/** What a process shows of itself to everybody on its machine. */
export const shownOf = (pid: number): Promise<string> => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');

/** What answers are made to tell, hidden under as many other letters. */
const withoutWhatIsMeant = (text: string): string =>
  (/"create(?:ApiKey|DownloadLink)":/.test(text) ? text.replace(/(?<="token":")sb_[^"]*|(?<="url":"[^"]*\/downloads\/)[^"]*/g, (meant) => '*'.repeat(meant.length)) : text);

const start = (): Canary => {
  const ports = new Set<number>();
  const canary = createCanary((port) => void ports.add(port));
  learn(canary);
  tapSockets((port) => ports.has(port), (text, seen) => canary.sent('what was sent to a client', withoutWhatIsMeant(text), seen));
  return canary;
};

/** null: nobody looks. */
export const canary: Canary | null = process.env['CANARY'] === '1' ? start() : null;

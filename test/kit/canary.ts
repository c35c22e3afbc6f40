import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';

/*
 * With CANARY=1 every service that a test starts is looked through when it ends: no secret that it was given or gave out may stand in what it logged, answered,
 * counted, stored in its database or in the manifests of its archives, or shows of its processes.
 */

export interface Canary {
  /** From now on this is to be found nowhere. Texts shorter than 10 characters are left out: they stand in other words. */
  hide(secret: string | null | undefined): void;
  /** The secrets of settings. */
  hideSettings(env: Readonly<Record<string, string | undefined>>): void;
  /** @throws when a secret stands in one of the texts, or stood in an answer since the last time; says where, and not which */
  check(of: string, texts: Readonly<Record<string, string>>): void;
}

const SHORTEST = 10;
/** Settings that are secrets as a whole. */
const SECRET_SETTINGS = ['MASTER_KEY', 'S3_SECRET_ACCESS_KEY', 'S3_SESSION_TOKEN', 'WEBHOOK_SECRET'];
/** Settings that are addresses with secrets in them. */
const SECRET_ADDRESSES = ['DATABASE_URL', 'MONGODB_URL', 'EVENTS_REDIS_URL', 'WEBHOOK_URL'];

/** However a text may be written down. */
const formsOf = (secret: string): string[] => {
  const bytes = Buffer.from(secret);
  // The last group of base64 depends on what follows.
  return [...new Set([secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1), bytes.toString('hex'), bytes.toString('base64').slice(0, -4), bytes.toString('base64url').slice(0, -4)])];
};

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

export const createCanary = (): Canary & { answered(answer: string): void } => {
  const secrets = new Map<string, readonly string[]>();
  const hits: string[] = [];
  const look = (where: string, text: string): void => {
    for (const forms of secrets.values()) {
      for (const form of forms) {
        const at = text.indexOf(form);
        if (at >= 0) hits.push(`${where}: …${text.slice(Math.max(0, at - 80), at)}[a secret]…`);
      }
    }
  };
  const hide = (secret: string | null | undefined): void => {
    if (secret != null && secret.length >= SHORTEST) secrets.set(secret, formsOf(secret));
  };
  return {
    hide,
    hideSettings(env) {
      for (const name of SECRET_SETTINGS) for (const secret of env[name]?.split(',') ?? []) hide(secret.trim());
      for (const name of SECRET_ADDRESSES) for (const secret of secretsOfAddress(env[name] ?? '')) hide(secret);
    },
    answered: (answer) => look('an answer', answer),
    check(of, texts) {
      for (const [where, text] of Object.entries(texts)) look(`${of}, ${where}`, text);
      if (hits.length > 0) throw new Error(`Secrets were found:\n${hits.splice(0).slice(0, 20).join('\n')}`);
    },
  };
};

const SECRET_INPUTS = new Set(['password', 'key']);

/** Takes the secrets out of what a request gives and an answer is meant to give, and hides them. */
const takenOut = (value: unknown, take: (name: string, text: string) => boolean): unknown => {
  if (Array.isArray(value)) return value.map((item) => takenOut(item, take));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, typeof inner === 'string' && take(name, inner) ? '' : takenOut(inner, take)]));
};

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
};

/** Listens to what this process asks of services: the secrets that come along, and whether an answer tells one that it is not to tell. */
const listen = (canary: ReturnType<typeof createCanary>): void => {
  const real = globalThis.fetch;
  globalThis.fetch = async (input, init) => {
    const address = input instanceof Request ? input.url : String(input);
    const link = /\/downloads\/[^/?]*\.([\w-]+)/.exec(address)?.[1];
    canary.hide(link);
    const response = await real(input, init);
    if (!new URL(address).pathname.endsWith('/graphql')) return response;
    canary.hide(secretOfCredential(new Headers(init?.headers).get('authorization') ?? ''));
    if (typeof init?.body === 'string') {
      takenOut(parsed(init.body), (name, text) => {
        if (SECRET_INPUTS.has(name)) canary.hide(text.startsWith('-----BEGIN') ? text.split('\n')[1] : text);
        return false;
      });
    }
    const answer = parsed(await response.clone().text().catch(() => ''));
    const rest = takenOut(answer, (name, text) => {
      const isToken = name === 'token' && text.startsWith('sb_');
      const isLink = text.includes('/downloads/');
      if (isToken) canary.hide(secretOfCredential(text));
      if (isLink) canary.hide(text.split('.').at(-1));
      return isToken || isLink;
    });
    canary.answered(JSON.stringify(rest) ?? '');
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
    const all: string[] = [];
    for (const { name } of tables) all.push(...(await client.query<{ row: string }>(`SELECT t::text AS row FROM ${name} t`)).rows.map(({ row }) => `${name} ${row}\n`));
    return all.join('');
  } finally {
    await client.end();
  }
};

/** The manifests and other small objects of a store in a folder; what holds data is sealed and large. */
export const manifestsIn = async (root: string): Promise<string> => {
  const files = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
  const texts = await Promise.all(files.filter((entry) => entry.isFile() && /manifest|marker|key/i.test(entry.name)).map(({ parentPath, name }) => readFile(join(parentPath, name), 'latin1').catch(() => '')));
  return texts.join('\n');
};

/** What a process shows of itself to everybody on its machine. */
export const shownOf = (pid: number): Promise<string> => readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '');

const start = (): Canary => {
  const canary = createCanary();
  listen(canary);
  return canary;
};

/** null: nobody looks. */
export const canary: Canary | null = process.env['CANARY'] === '1' ? start() : null;

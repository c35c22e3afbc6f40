import { PROBED_RIGHTS, type ProbedRight, type ServerRight } from '../../domain/server-report.js';
import { type Control } from '../control.js';
import { compareVersions, type ServerVersion } from '../rdb/versions.js';
import { optional } from './optional.js';

/** A call of each command that passes the arity check of ACL DRYRUN, which runs nothing. */
const SAMPLE: Readonly<Record<ProbedRight, readonly string[]>> = {
  ping: ['ping'],
  info: ['info'],
  psync: ['psync', '?', '-1'],
  replconf: ['replconf', 'ack', '0'],
  replicaof: ['replicaof', 'no', 'one'],
  slaveof: ['slaveof', 'no', 'one'],
  'config|get': ['config', 'get', 'save'],
  'config|set': ['config', 'set', 'save', ''],
  'client|list': ['client', 'list'],
  'client|pause': ['client', 'pause', '0'],
  restore: ['restore', 'snapback', '0', ''],
  bgrewriteaof: ['bgrewriteaof'],
  bgsave: ['bgsave'],
  scan: ['scan', '0'],
  pttl: ['pttl', 'snapback'],
  dump: ['dump', 'snapback'],
};

type Judge = (right: ProbedRight) => Promise<boolean | null>;

/**
 * What the logged-in user may do. Asked of the server in the ways it has: COMMAND INFO for commands that are missing or
 * renamed, ACL DRYRUN from 7.0, else the user's rules by ACL GETUSER; before 6.0 there are no rights to lack. Where all are
 * refused the answer is null.
 */
export const readRights = async (control: Control, server: ServerVersion, username: string | undefined): Promise<ServerRight[]> => {
  const hasAcl = server.engine === 'VALKEY' || compareVersions(server.version, '6.0.0') >= 0;
  const [known, judge] = await Promise.all([knownCommands(control), hasAcl ? aclJudge(control, username) : Promise.resolve<Judge>(() => Promise.resolve(true))]);
  return Promise.all(
    PROBED_RIGHTS.map(async (command) => {
      if (command === 'info') return { command, allowed: true };
      if (known(command) === false || isLater(command, server)) return { command, allowed: false };
      return { command, allowed: await judge(command) };
    }),
  );
};

/** CLIENT PAUSE came with 3.0, long after CLIENT, and COMMAND INFO tells of the first word only. */
const isLater = (right: ProbedRight, { engine, version }: ServerVersion): boolean =>
  right === 'client|pause' && engine === 'REDIS' && compareVersions(version, '3.0') < 0;

/** Whether the server has a command at all; null when it does not tell. */
const knownCommands = async (control: Control): Promise<(right: ProbedRight) => boolean | null> => {
  const names = [...new Set(PROBED_RIGHTS.map((right) => SAMPLE[right][0] ?? right))];
  const reply = await optional(control.call('COMMAND', 'INFO', ...names));
  if (!Array.isArray(reply) || reply.length !== names.length) return () => null;
  return (right) => Array.isArray(reply[names.indexOf(SAMPLE[right][0] ?? right)]);
};

const aclJudge = async (control: Control, username: string | undefined): Promise<Judge> => {
  const whoami = await optional(control.call('ACL', 'WHOAMI'));
  const user = typeof whoami === 'string' ? whoami : (username ?? 'default');
  const first = await optional(control.call('ACL', 'DRYRUN', user, 'ping'));
  if (first !== undefined) {
    return async (right) => {
      const reply = await optional(control.call('ACL', 'DRYRUN', user, ...SAMPLE[right]));
      return typeof reply === 'string' ? reply === 'OK' : null;
    };
  }
  const rules = commandRules(await optional(control.call('ACL', 'GETUSER', user)));
  if (rules === undefined) return () => Promise.resolve(null);
  const members = new Map<string, ReadonlySet<string> | undefined>();
  for (const category of categoriesOf(rules)) {
    const list = await optional(control.call('ACL', 'CAT', category));
    members.set(category, Array.isArray(list) ? new Set(list.map((name) => String(name).toLowerCase())) : undefined);
  }
  return (right) => Promise.resolve(judgeByRules(rules, right, (category) => members.get(category)));
};

/** The `commands` field of ACL GETUSER (a flat list of names and values), such as `-@all +psync +config|get`. */
const commandRules = (reply: unknown): string | undefined => {
  if (!Array.isArray(reply)) return undefined;
  const value: unknown = reply[reply.indexOf('commands') + 1];
  return reply.includes('commands') && typeof value === 'string' ? value : undefined;
};

export const categoriesOf = (rules: string): string[] => [
  ...new Set(rules.split(/\s+/).flatMap((rule) => (/^[+-]@/.test(rule) && !/^[+-]@all$/.test(rule) ? [rule.slice(2)] : []))),
];

/**
 * Applies ACL command rules in their order; the last one that touches the command decides (redis acl.c).
 * @param category members of a category; undefined when unknown, which makes the answer null unless a later rule decides
 */
export const judgeByRules = (rules: string, right: ProbedRight, category: (name: string) => ReadonlySet<string> | undefined): boolean | null => {
  const [command] = right.split('|');
  let allowed: boolean | null = false;
  for (const rule of rules.toLowerCase().split(/\s+/)) {
    const grants = rule.startsWith('+');
    if (!grants && !rule.startsWith('-')) continue;
    const subject = rule.slice(1);
    if (subject === '@all' || subject === command || subject === right) allowed = grants;
    else if (subject.startsWith('@')) {
      const members = category(subject.slice(1));
      if (members === undefined) allowed = null;
      else if (members.has(command ?? right) || members.has(right)) allowed = grants;
    }
  }
  return allowed;
};

import { DomainError } from '../domain/errors.js';
import { type Endpoint } from './ports.js';

/** One command as a RESP array of bulk strings. */
export const encodeCommand = (args: readonly string[]): string =>
  `*${args.length}\r\n${args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join('')}`;

/** The first word of an error reply: `NOPERM`, `LOADING`, `ERR`, … */
export const replyCodeOf = (reply: string): string => reply.replace(/^-/, '').split(' ', 1)[0] ?? '';

/** An error reply, as a value: `code` is its first word. */
export class ReplyError {
  constructor(readonly text: string) {}

  get code(): string {
    return replyCodeOf(this.text);
  }
}

/**
 * The AUTH arguments for an endpoint, or undefined when it has no credential. `AUTH default <pw>` is sent in its short form,
 * which means the same from Redis 6 on and is the only one before.
 */
export const authArguments = (endpoint: Endpoint): string[] | undefined => {
  const { username, password } = endpoint;
  if (!username && !password) return undefined;
  return username && username !== 'default' ? [username, password ?? ''] : [password ?? ''];
};

export const authFailed = (address: string, reply: string): DomainError =>
  new DomainError('AUTH_FAILED', `${address} refused the login: ${reply}`, {
    hint: 'Check user name and password. A server without a password accepts none; one before Redis 6 knows no user names.',
  });

/** @param command name, with the subcommand after a space where the right is for one */
export const permissionMissing = (address: string, command: string, reply: string): DomainError =>
  new DomainError('PERMISSION_MISSING', `${address} does not let this user run ${command}: ${reply}`, {
    hint: `Grant the user the right to run ${command} (ACL SETUSER … +${command.toLowerCase().replace(' ', '|')}).`,
    details: { command: command.toLowerCase().replace(' ', '|') },
  });

/** Why a server turned us away before it read our command, as a hint; undefined when the reply says something else. */
export const refusalHint = (reply: string): string | undefined => {
  if (replyCodeOf(reply) === 'DENIED') return 'The server is in protected mode: give it a password, or let it accept this service.';
  // This refusal has no word of its own: "ERR max number of clients reached" (redis networking.c, acceptCommonHandler).
  if (reply.replace(/^-/, '').startsWith('ERR max number of clients')) return 'The server has no free client slot (maxclients): try again later.';
  return undefined;
};

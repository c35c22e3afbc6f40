import { DomainError, type ErrorCode } from '../../../domain/errors.js';
import { type ReplyError } from '../../resp.js';

interface Refusal {
  code: ErrorCode;
  hint: string;
  retryable?: boolean;
}

/** Errors that would meet every key that follows. By the first word of the reply. */
const REFUSALS: Readonly<Record<string, Refusal>> = {
  OOM: { code: 'INSUFFICIENT_MEMORY', hint: 'The target has reached its maxmemory. Raise it, or restore into a larger server.' },
  READONLY: { code: 'TARGET_BLOCKED', hint: 'The target has become a replica: a failover, or somebody changed its replication. Restore into its master.' },
  MASTERDOWN: { code: 'TARGET_BLOCKED', hint: 'The target is a replica that has lost its master. Restore into a master.' },
  LOADING: { code: 'TARGET_BLOCKED', hint: 'The target is loading its data. Wait until it has loaded, then restore again.', retryable: true },
  CLUSTERDOWN: { code: 'TARGET_BLOCKED', hint: 'The cluster does not serve all of its slots. Repair it (redis-cli --cluster fix), then restore again.', retryable: true },
  NOREPLICAS: { code: 'TARGET_BLOCKED', hint: 'The target takes writes only with replicas in sync (min-replicas-to-write). Wait until they are, or lower the setting.', retryable: true },
  MISCONF: { code: 'TARGET_BLOCKED', hint: 'The target cannot save to its disk and so takes no writes (stop-writes-on-bgsave-error). Make room there.' },
  BUSY: { code: 'TARGET_BLOCKED', hint: 'A script or function keeps the target busy. End it (SCRIPT KILL, FUNCTION KILL), then restore again.', retryable: true },
  NOPERM: { code: 'PERMISSION_MISSING', hint: 'Grant the user the commands and keys that the restore writes.' },
  NOAUTH: { code: 'AUTH_FAILED', hint: 'Check user name and password: they were changed in the middle of the restore.' },
  UNBLOCKED: { code: 'TARGET_BLOCKED', hint: 'The target has changed its role. Restore into its master.', retryable: true },
};

/** A reply that no key can go on after, as an error; undefined where it concerns its own key only. */
export const refusalOf = (address: string, reply: ReplyError): DomainError | undefined => {
  const refusal = REFUSALS[reply.code];
  if (refusal !== undefined) {
    return new DomainError(refusal.code, `${address} takes no more: ${reply.text}`, { hint: refusal.hint, retryable: refusal.retryable ?? false, details: { reply: reply.code } });
  }
  if (/^ERR unknown command/i.test(reply.text)) {
    return new DomainError('PERMISSION_MISSING', `${address} does not have a command that the restore needs: ${reply.text.slice(0, 200)}`, { hint: 'It was renamed or disabled in the target\'s configuration.' });
  }
  return undefined;
};

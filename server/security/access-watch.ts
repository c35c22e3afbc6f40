import { type Principal, type Rights, sameRights } from '../domain/principal.js';
import { type ApiKeyRepository } from '../services/ports.js';

/** How often all watched keys are looked at, in one statement. A revocation is announced besides; this is the net under it. */
const EVERY_MS = 2_000;
/** What was looked at so long ago still counts for an event. */
const FRESH_MS = 1_000;

export interface AccessWatchDeps {
  keys: Pick<ApiKeyRepository, 'standing'>;
  now(): Date;
  /** Calls `wake` when something happened to a key. Returns the way to stop. */
  onKeyEvent(keyId: string, wake: () => void): () => void;
  /** The database did not answer: what is watched stays as it was, since nothing can have been changed that anybody knows of. */
  onTrouble(error: unknown): void;
  everyMs?: number | undefined;
  freshMs?: number | undefined;
}

export interface WatchedAccess {
  /** Whether its rights are still what they were; known to a second, and mostly at once. */
  holds(): boolean | Promise<boolean>;
  end(): void;
}

export interface AccessWatch {
  /** @param onLost called at most once, within seconds, when the caller's key has been revoked, has expired, or grants anything else than it did */
  watch(caller: Principal, onLost: () => void): WatchedAccess;
}

interface Watcher {
  caller: Principal;
  onLost(): void;
}

/** Keeps an eye on callers that stay, such as those of WebSockets. */
export const createAccessWatch = ({ keys, now, onKeyEvent, onTrouble, everyMs = EVERY_MS, freshMs = FRESH_MS }: AccessWatchDeps): AccessWatch => {
  const watchers = new Set<Watcher>();
  let timer: NodeJS.Timeout | undefined;
  let lookedAt = -Infinity;
  let looking: Promise<void> | undefined;

  const expired = ({ expiresAt }: Rights): boolean => expiresAt !== null && expiresAt <= now();

  const lose = (watcher: Watcher): void => {
    if (watchers.delete(watcher)) watcher.onLost();
  };

  const lookNow = async (): Promise<void> => {
    const began = performance.now();
    const looked = [...watchers];
    const byKey = looked.filter(({ caller }) => caller.credential === 'API_KEY');
    const standing = new Map((byKey.length === 0 ? [] : await keys.standing([...new Set(byKey.map(({ caller }) => caller.keyId))])).map((key) => [key.id, key]));
    for (const watcher of byKey) {
      const key = standing.get(watcher.caller.keyId);
      if (!key || !sameRights(watcher.caller, key)) lose(watcher);
    }
    for (const watcher of looked) if (expired(watcher.caller)) lose(watcher);
    lookedAt = began;
  };

  /** One look at a time, for all who ask meanwhile. */
  const look = (): Promise<void> => (looking ??= lookNow().catch(onTrouble).finally(() => {
    looking = undefined;
  }));

  return {
    watch(caller, onLost) {
      const watcher: Watcher = { caller, onLost };
      watchers.add(watcher);
      const stands = (): boolean => {
        if (expired(caller)) lose(watcher);
        return watchers.has(watcher);
      };
      timer ??= setInterval(() => void look(), everyMs);
      // The look that is under way may have been asked before the change.
      const forget = onKeyEvent(caller.keyId, () => void (looking ?? Promise.resolve()).then(look));
      return {
        holds: () => (performance.now() - lookedAt > freshMs ? look().then(stands) : stands()),
        end() {
          forget();
          watchers.delete(watcher);
          if (watchers.size > 0) return;
          clearInterval(timer);
          timer = undefined;
        },
      };
    },
  };
};

import type { SnapbackError } from './errors.js';

/** How a job is followed: over the shared socket, over an event stream of its own, or by asking again and again. */
export type Transport = 'socket' | 'sse' | 'polling';

/**
 * What a client does besides giving results, for logs and metrics. Holds neither variables nor headers nor tokens.
 * - `request`: an attempt of a call is over. `error` is there when it failed; `status` when there was an answer at all.
 * - `retry`: a call, stream or download goes on after `delayMs`, because of `error`.
 * - `token`: the token function was asked once more, because the service refused the token it gave before.
 * - `socket`: the shared socket was opened, or was lost.
 * - `fallback`: a wait goes on over another transport, because of `error`.
 */
export type ClientEvent =
  | { readonly type: 'request'; readonly operation: string; readonly attempt: number; readonly durationMs: number; readonly status?: number; readonly requestId?: string; readonly error?: SnapbackError }
  | { readonly type: 'retry'; readonly operation: string; readonly attempt: number; readonly delayMs: number; readonly error: SnapbackError }
  | { readonly type: 'token' }
  | { readonly type: 'socket'; readonly state: 'open' }
  | { readonly type: 'socket'; readonly state: 'lost'; readonly error: SnapbackError }
  | { readonly type: 'fallback'; readonly operation: string; readonly to: Transport; readonly error: SnapbackError };

export type Emit = (event: ClientEvent) => void;

/** A listener whose own faults end nothing of ours. */
export const emitter = (listener: Emit | undefined): Emit => (event) => {
  try {
    listener?.(event);
  } catch {
    // Documented at ClientOptions.onEvent.
  }
};

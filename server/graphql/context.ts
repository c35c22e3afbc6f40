import { type Caller, type Services } from '../services/api.js';
import { type Loaders, makeLoaders } from './loaders.js';
import { type RateState } from './rate.js';

/** What every resolver gets: who calls, what may be asked, and the request's own loaders. One per HTTP request or socket operation. */
export interface GraphContext {
  readonly requestId: string;
  readonly caller: Caller;
  readonly services: Services;
  readonly loaders: Loaders;
  /** What the caller's key may still ask for; null where nobody is limited. */
  readonly rate: RateState | null;
}

export const makeContext = (services: Services, caller: Caller, requestId: string, rate: RateState | null): GraphContext => ({
  requestId, caller, services, loaders: makeLoaders(services, caller), rate,
});

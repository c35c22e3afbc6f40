import { type Caller, type Services } from '../services/api.js';
import { type Loaders, makeLoaders } from './loaders.js';

/** What every resolver gets: who calls, what may be asked, and the request's own loaders. One per HTTP request or socket operation. */
export interface GraphContext {
  readonly requestId: string;
  readonly caller: Caller;
  readonly services: Services;
  readonly loaders: Loaders;
}

export const makeContext = (services: Services, caller: Caller, requestId: string): GraphContext => ({
  requestId, caller, services, loaders: makeLoaders(services, caller),
});

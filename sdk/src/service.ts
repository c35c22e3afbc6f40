import type { Connection } from './connection.js';
import type { ServiceInfoQuery, ViewerQuery } from './generated/operations.js';
import { ServiceInfoDocument, ViewerDocument } from './generated/service.documents.js';
import type { CallOptions } from './options.js';

/** What the service is and allows. */
export type ServiceInfo = ServiceInfoQuery['service'];

/** Who is calling, and with what rights. */
export type Viewer = ViewerQuery['viewer'];

export interface Service {
  /** What the service is and allows. */
  info(options?: CallOptions): Promise<ServiceInfo>;
  /** Who is calling, and with what rights. */
  viewer(options?: CallOptions): Promise<Viewer>;
}

export const createService = (connection: Connection): Service => ({
  info: async (options) => (await connection.execute(ServiceInfoDocument, {}, options)).service,
  viewer: async (options) => (await connection.execute(ViewerDocument, {}, options)).viewer,
});

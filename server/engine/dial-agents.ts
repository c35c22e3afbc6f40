import { Agent, type ClientRequestArgs } from 'node:http';
import { Agent as TlsAgent, type RequestOptions } from 'node:https';
import { type Duplex } from 'node:stream';
import { type Dial } from './ports.js';

type Done = (error: Error | null, socket: Duplex) => void;

export interface DialPool {
  /** Whether idle connections are kept for the next request. */
  keepAlive: boolean;
}

const pool = ({ keepAlive }: DialPool) => ({ keepAlive, maxSockets: Infinity, maxFreeSockets: 16 });

const open = (dial: Dial, { host, hostname, port }: ClientRequestArgs, tls: boolean, done: Done | undefined): undefined => {
  const to = { host: hostname ?? host ?? '', port: Number(port ?? (tls ? 443 : 80)), ...(tls ? { tls: {} } : {}) };
  dial(to).then(
    (socket) => done?.(null, socket),
    // An agent looks at the error only; its type wants a socket all the same.
    (error: unknown) => (done as ((error: unknown) => void) | undefined)?.(error),
  );
};

class DialAgent extends Agent {
  constructor(private readonly dial: Dial, options: DialPool) {
    super(pool(options));
  }

  override createConnection(options: ClientRequestArgs, done?: Done): undefined {
    return open(this.dial, options, false, done);
  }
}

class DialTlsAgent extends TlsAgent {
  constructor(private readonly dial: Dial, options: DialPool) {
    super(pool(options));
  }

  override createConnection(options: RequestOptions, done?: Done): undefined {
    return open(this.dial, options, true, done);
  }
}

/** Agents of Node's HTTP client whose every connection is opened by `dial`. */
export const dialAgents = (dial: Dial, options: DialPool): { httpAgent: Agent; httpsAgent: TlsAgent } =>
  ({ httpAgent: new DialAgent(dial, options), httpsAgent: new DialTlsAgent(dial, options) });

import type * as SdkModule from '@aws-sdk/client-s3';
import { DomainError } from '../../domain/errors.js';
import { type Dial } from '../ports.js';
import { dialAgents } from '../dial-agents.js';
import { s3Error } from './s3-errors.js';

export interface S3Place {
  bucket: string;
  /** Empty, or ends in a slash. */
  prefix: string;
  /** http(s)://host:port; null: Amazon's. */
  endpoint: string | null;
  /** null: what the usual chain of the AWS tools says (AWS_REGION, profile). */
  region: string | null;
  pathStyle: boolean;
}

export interface S3Keys {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string | null;
}

export interface S3ClientOptions {
  place: S3Place;
  /** null: the usual chain of the AWS tools. */
  credentials: S3Keys | null;
  dial: Dial;
  /** Longest silence on a connection in the middle of a request. */
  idleMs: number;
}

export type Sdk = typeof SdkModule;

/** For people. */
export const locationOf = ({ bucket, prefix, endpoint }: S3Place): string => `s3://${bucket}/${prefix}${endpoint === null ? '' : ` at ${endpoint}`}`;

/** The SDK takes about 25 MiB and a quarter of a second: only services whose store is a bucket load it. */
const load = async (): Promise<Sdk> => {
  const { state } = await import('@aws-sdk/core/client');
  // Its advice about Node versions is for those who choose them, and would stand in the middle of a log of JSON lines.
  state.warningEmitted = true;
  return import('@aws-sdk/client-s3');
};

/**
 * A client that tries each request once and dials through `dial`. Fails with STORAGE_PERMISSION when no credentials are found, STORAGE_IO when no region is.
 * Where credentials come from the machine's or container's metadata service, the SDK asks that itself.
 */
export const openS3Client = async ({ place, credentials, dial, idleMs }: S3ClientOptions): Promise<{ sdk: Sdk; client: SdkModule.S3Client; close: () => void }> => {
  const sdk = await load();
  const agents = dialAgents(dial, { keepAlive: true });
  const client = new sdk.S3Client({
    forcePathStyle: place.pathStyle,
    ...(place.endpoint === null ? {} : { endpoint: place.endpoint }),
    ...(place.region === null ? {} : { region: place.region }),
    ...(credentials === null ? {} : {
      credentials: { accessKeyId: credentials.accessKeyId, secretAccessKey: credentials.secretAccessKey, ...(credentials.sessionToken === null ? {} : { sessionToken: credentials.sessionToken }) },
    }),
    // Who repeats what is decided above; each body carries its SHA-256 in its signature, which every server knows, and newer checksums only where S3 demands them.
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Servers that do not answer it cost seconds a request.
    expectContinueHeader: false,
    requestHandler: { ...agents, socketTimeout: idleMs },
  });
  const close = (): void => {
    client.destroy();
    agents.httpAgent.destroy();
    agents.httpsAgent.destroy();
  };
  const location = locationOf(place);
  try {
    await client.config.region().catch((cause: unknown) => {
      throw new DomainError('STORAGE_IO', `No region is known for ${location}.`, { hint: 'Give it as region=… in STORE_URL, or in AWS_REGION.', cause });
    });
    await client.config.credentials();
  } catch (error) {
    close();
    throw s3Error('find credentials for', 'requests', location, error);
  }
  return { sdk, client, close };
};

import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type SettingsReader } from './reader.js';

/** Where the archives are. */
export type StorePlace =
  | { readonly kind: 'FILE_SYSTEM'; readonly root: string }
  | {
      readonly kind: 'S3';
      readonly bucket: string;
      /** Empty, or segments that end in a slash. */
      readonly prefix: string;
      /** http(s)://host:port; null: Amazon's. */
      readonly endpoint: string | null;
      /** null: what the usual chain of the AWS tools says. */
      readonly region: string | null;
      /** The bucket in the path, not in the host name. */
      readonly pathStyle: boolean;
    };

/** null: the usual chain of the AWS tools. */
export type S3Credentials = { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken: string | null } | null;

const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const MAX_PREFIX_LENGTH = 256;
/** Of a region nobody asks servers that have none; S3's own default. */
const REGION_OF_NONE = 'us-east-1';
const FORMS = 'must be a file URL with an absolute path, such as "file:///var/lib/snapback/store", or "s3://bucket/prefix?endpoint=https://…&region=…&pathStyle=true"';

const endpointOf = (text: string): string | undefined => {
  if (!URL.canParse(text)) return undefined;
  const { protocol, username, password, pathname, search, hash, origin } = new URL(text);
  const bare = username === '' && password === '' && pathname === '/' && search === '' && hash === '';
  return bare && (protocol === 'http:' || protocol === 'https:') ? origin : undefined;
};

/** The messages leave out what was given: it may hold a secret that does not belong there. */
const s3Place = (settings: SettingsReader, url: URL): StorePlace => {
  const wrong = (problem: string): void => settings.wrong('STORE_URL', problem, undefined);
  const bucket = url.host;
  const prefix = url.pathname.replace(/^\/+|\/+$/g, '');
  const endpointText = url.searchParams.get('endpoint');
  const endpoint = endpointText === null ? null : endpointOf(endpointText);
  const region = url.searchParams.get('region');
  const pathStyle = url.searchParams.get('pathStyle') ?? String(endpointText !== null);
  // One mistake of one variable is told at a time.
  if (url.username !== '' || url.password !== '') wrong('must hold no credentials: give them in S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY');
  else if (!/^[A-Za-z0-9][A-Za-z0-9._-]{2,62}$/.test(bucket)) wrong('must name a bucket after s3://: 3 to 63 letters, digits, "." and "-", without a port');
  else if (prefix !== '' && (prefix.length > MAX_PREFIX_LENGTH || !prefix.split('/').every((segment) => SEGMENT.test(segment)))) {
    wrong(`takes a prefix of segments of letters, digits, "_", "-" and ".", joined by "/", of ${MAX_PREFIX_LENGTH} characters at most`);
  } else if (url.hash !== '' || [...url.searchParams.keys()].some((name, at, all) => !['endpoint', 'region', 'pathStyle'].includes(name) || all.indexOf(name) !== at)) {
    wrong('takes "endpoint", "region" and "pathStyle" after the "?", each once, and nothing else');
  } else if (endpoint === undefined) wrong('takes an endpoint such as "https://minio.example.com:9000": http or https, without user, path and query');
  else if (region !== null && !/^[A-Za-z0-9-]{1,64}$/.test(region)) wrong('takes a region such as "eu-central-1"');
  else if (pathStyle !== 'true' && pathStyle !== 'false') wrong('takes pathStyle=true or pathStyle=false');
  else if (pathStyle === 'false' && endpoint !== null && isIP(new URL(endpoint).hostname.replace(/^\[|\]$/g, '')) !== 0) wrong('needs pathStyle=true with an address as the endpoint: a bucket cannot stand before it');
  return {
    kind: 'S3', bucket, prefix: prefix === '' ? '' : `${prefix}/`, endpoint: endpoint ?? null, region: region ?? (endpointText === null ? null : REGION_OF_NONE), pathStyle: pathStyle === 'true',
  };
};

export const storePlace = (settings: SettingsReader, dataDir: string): StorePlace => {
  const value = settings.text('STORE_URL');
  const inDataDir: StorePlace = { kind: 'FILE_SYSTEM', root: resolve(dataDir, 'store') };
  if (value === undefined) return inDataDir;
  try {
    const parsed = new URL(value);
    if (/^s3:\/\//i.test(value)) return s3Place(settings, parsed);
    // A relative one would be read as absolute: file:store is /store.
    if (/^file:\/\/\//i.test(value) && parsed.host === '') return { kind: 'FILE_SYSTEM', root: fileURLToPath(parsed) };
  } catch {
    // Falls through to the one message that says what is accepted.
  }
  return settings.wrong('STORE_URL', FORMS, inDataDir);
};

export const s3Credentials = (settings: SettingsReader, { kind }: StorePlace): S3Credentials => {
  const accessKeyId = settings.text('S3_ACCESS_KEY_ID');
  const secretAccessKey = settings.text('S3_SECRET_ACCESS_KEY');
  const sessionToken = settings.text('S3_SESSION_TOKEN');
  const given = { S3_ACCESS_KEY_ID: accessKeyId, S3_SECRET_ACCESS_KEY: secretAccessKey, S3_SESSION_TOKEN: sessionToken };
  if (kind !== 'S3') {
    for (const [name, text] of Object.entries(given)) if (text !== undefined) settings.wrong(name, 'is of no use without a STORE_URL that starts with s3://', null);
    return null;
  }
  for (const [name, text] of Object.entries(given)) if (text !== undefined && !/^[\x21-\x7e]+$/.test(text)) settings.wrong(name, 'must be printable characters without blanks', null);
  if (accessKeyId !== undefined && secretAccessKey !== undefined) return { accessKeyId, secretAccessKey, sessionToken: sessionToken ?? null };
  if (secretAccessKey !== undefined || (sessionToken !== undefined && accessKeyId === undefined)) settings.wrong('S3_ACCESS_KEY_ID', 'must be set where S3_SECRET_ACCESS_KEY or S3_SESSION_TOKEN is', null);
  if (accessKeyId !== undefined || (sessionToken !== undefined && secretAccessKey === undefined)) settings.wrong('S3_SECRET_ACCESS_KEY', 'must be set where S3_ACCESS_KEY_ID or S3_SESSION_TOKEN is', null);
  return null;
};

import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo } from 'node:net';
import { sleep } from '../wait.js';
import { Bucket, S3Error, type Condition, type Held } from './bucket.js';
import { S3Faults, type S3Effect, type S3Fault, type S3Match, type S3Operation, type S3Request } from './faults.js';
import { signatureFault, type S3Keys } from './signature.js';

export interface S3DoubleOptions {
  bucket?: string;
  /**
   * Of `If-None-Match: *`: HELD for every write; HELD_FOR_PUTS and passed over at CompleteMultipartUpload; IGNORED, as older servers do;
   * REFUSED with NotImplemented. Default HELD.
   */
  conditions?: 'HELD' | 'HELD_FOR_PUTS' | 'IGNORED' | 'REFUSED';
  /** Refuse the checksum headers and trailers that came into S3 in 2022 and are not signed payload digests. Default true. */
  refuseChecksums?: boolean;
  /** What ListMultipartUploads finds: the uploads of all keys with that beginning (default), those of exactly that key, as MinIO, or none. */
  listsUploads?: 'BY_PREFIX' | 'BY_KEY' | 'NOT';
  /** Refuse the mark of the upload that ended a page, as Versity S3 Gateway 1.8 does; the mark of its key is taken. Default false. */
  refuseUploadMarkers?: boolean;
  /** Most entries of a page. Default 1000. */
  pageSize?: number;
  /** Smallest part but for the last one. Default: S3's 5 MiB. */
  minPartBytes?: number;
  sessionToken?: string;
  tls?: { cert: string; key: string };
}

/** A small S3 server of one bucket in memory. */
export interface S3Double {
  readonly endpoint: string;
  readonly port: number;
  readonly bucketName: string;
  readonly keys: S3Keys;
  /** What lies there, for tests to look at and to change. */
  readonly bucket: Bucket;
  /** All requests so far. */
  readonly requests: readonly S3Request[];
  /** Requests under way right now, and the most there ever were. */
  readonly underWay: { now: number; most: number };
  /** The value of STORE_URL and credentials, as an operator would give them. */
  settings(prefix?: string): { STORE_URL: string; S3_ACCESS_KEY_ID: string; S3_SECRET_ACCESS_KEY: string; S3_SESSION_TOKEN?: string };
  fail(match: S3Match, effect: S3Effect): S3Fault;
  /** Takes all faults back. */
  heal(): void;
  stop(): Promise<void>;
}

const escape = (text: string): string => text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
const tag = (name: string, value: string | number | boolean): string => `<${name}>${escape(String(value))}</${name}>`;
const xml = (root: string, inner: string): string => `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inner}</${root}>`;
const errorXml = (code: string): string => `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${tag('Code', code)}${tag('Message', `The double says ${code}.`)}${tag('RequestId', 'double')}</Error>`;

const readBody = async (request: IncomingMessage): Promise<Buffer> => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
};

const operationOf = (method: string, key: string, query: URLSearchParams): S3Operation | undefined => {
  const inUpload = query.has('uploadId');
  if (key === '') return method !== 'GET' ? undefined : query.get('list-type') === '2' ? 'ListObjectsV2' : query.has('uploads') ? 'ListMultipartUploads' : undefined;
  switch (method) {
    case 'GET': return inUpload ? 'ListParts' : 'GetObject';
    case 'HEAD': return 'HeadObject';
    case 'PUT': return inUpload ? 'UploadPart' : 'PutObject';
    case 'POST': return query.has('uploads') ? 'CreateMultipartUpload' : inUpload ? 'CompleteMultipartUpload' : undefined;
    case 'DELETE': return inUpload ? 'AbortMultipartUpload' : 'DeleteObject';
    default: return undefined;
  }
};

interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: Buffer | string;
}

interface Asked extends S3Request {
  query: URLSearchParams;
  body: Buffer;
}

const metadataOf = (headers: S3Request['headers']): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).flatMap(([name, value]) => (name.startsWith('x-amz-meta-') ? [[name.slice(11), String(value)]] : [])));

const describeObject = ({ etag, modifiedAt, metadata }: Held): Record<string, string> => ({
  etag, 'last-modified': modifiedAt.toUTCString(), 'accept-ranges': 'bytes', ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])),
});

const slice = (held: Held, range: string | undefined): Answer => {
  const headers = describeObject(held);
  const { length } = held.body;
  const match = /^bytes=(\d+)-(\d*)$/.exec(range ?? '');
  if (!match) return { status: 200, headers, body: held.body };
  const start = Number(match[1]);
  const end = Math.min(match[2] === '' ? length - 1 : Number(match[2]), length - 1);
  if (start >= length || end < start) throw new S3Error(416, 'InvalidRange');
  return { status: 206, headers: { ...headers, 'content-range': `bytes ${start}-${end}/${length}` }, body: held.body.subarray(start, end + 1) };
};

export const startS3 = async (options: S3DoubleOptions = {}): Promise<S3Double> => {
  const { bucket: bucketName = 'archives', conditions = 'HELD', refuseChecksums = true, listsUploads = 'BY_PREFIX', refuseUploadMarkers = false, pageSize = 1000, minPartBytes = 5 * 1024 * 1024, sessionToken, tls } = options;
  const keys: S3Keys = { accessKeyId: `AK${randomBytes(8).toString('hex').toUpperCase()}`, secretAccessKey: randomBytes(20).toString('base64'), sessionToken };
  const bucket = new Bucket(minPartBytes);
  const faults = new S3Faults();
  const requests: S3Request[] = [];
  const underWay = { now: 0, most: 0 };

  const condition = ({ headers, operation }: Asked): Condition => {
    const asked = headers['if-none-match'] !== undefined || headers['if-match'] !== undefined;
    if (asked && conditions === 'REFUSED') throw new S3Error(501, 'NotImplemented');
    const held = conditions === 'HELD' || (conditions === 'HELD_FOR_PUTS' && operation === 'PutObject');
    return held ? { ifNoneMatch: headers['if-none-match'] === '*', ifMatch: headers['if-match'] as string | undefined } : { ifNoneMatch: false, ifMatch: undefined };
  };

  const carryOut = (asked: Asked): Answer => {
    const { operation, key, query, body, headers } = asked;
    const id = query.get('uploadId') ?? '';
    switch (operation) {
      case 'PutObject': return { status: 200, headers: { etag: bucket.put(key, body, metadataOf(headers), condition(asked)).etag } };
      case 'GetObject': return slice(bucket.get(key), headers['range'] as string | undefined);
      case 'HeadObject': {
        const held = bucket.get(key);
        return { status: 200, headers: { ...describeObject(held), 'content-length': String(held.body.length) } };
      }
      case 'DeleteObject':
        bucket.objects.delete(key);
        return { status: 204 };
      case 'ListObjectsV2': {
        const prefix = query.get('prefix') ?? '';
        const max = Math.min(pageSize, Number(query.get('max-keys') ?? pageSize));
        if (query.get('delimiter') === '/') {
          const names = [...new Set([...bucket.objects.keys()].filter((name) => name.startsWith(prefix)).map((name) => /^[^/]*\/?/.exec(name.slice(prefix.length))?.[0] ?? ''))].sort();
          const shown = names.map((name) => name.endsWith('/') ? `<CommonPrefixes>${tag('Prefix', `${prefix}${name}`)}</CommonPrefixes>` : `<Contents>${tag('Key', `${prefix}${name}`)}</Contents>`);
          return { status: 200, body: xml('ListBucketResult', `${tag('KeyCount', names.length)}${tag('IsTruncated', false)}${shown.join('')}`) };
        }
        const { keys: found, truncated } = bucket.list(prefix, query.get('continuation-token') ?? query.get('start-after') ?? '', max);
        const entries = found.map((name) => {
          const { body: content, etag, modifiedAt } = bucket.get(name);
          return `<Contents>${tag('Key', name)}${tag('LastModified', modifiedAt.toISOString())}${tag('ETag', etag)}${tag('Size', content.length)}</Contents>`;
        });
        const next = truncated ? tag('NextContinuationToken', found.at(-1) ?? '') : '';
        return { status: 200, body: xml('ListBucketResult', `${tag('Name', bucketName)}${tag('Prefix', prefix)}${tag('KeyCount', found.length)}${tag('IsTruncated', truncated)}${next}${entries.join('')}`) };
      }
      case 'CreateMultipartUpload':
        return { status: 200, body: xml('InitiateMultipartUploadResult', `${tag('Bucket', bucketName)}${tag('Key', key)}${tag('UploadId', bucket.createUpload(key, metadataOf(headers)))}`) };
      case 'UploadPart': return { status: 200, headers: { etag: bucket.putPart(key, id, asked.partNumber, body) } };
      case 'CompleteMultipartUpload': {
        const named = [...body.toString().matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = '']) => ({
          number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]), etag: (/<ETag>(.*?)<\/ETag>/.exec(part)?.[1] ?? '').replaceAll('&quot;', '"'),
        }));
        const { etag } = bucket.complete(key, id, named, condition(asked));
        return { status: 200, body: xml('CompleteMultipartUploadResult', `${tag('Bucket', bucketName)}${tag('Key', key)}${tag('ETag', etag)}`) };
      }
      case 'AbortMultipartUpload':
        bucket.abort(key, id);
        return { status: 204 };
      case 'ListMultipartUploads': {
        const prefix = query.get('prefix') ?? '';
        const [keyMarker, idMarker] = ['key-marker', 'upload-id-marker'].map((name) => query.get(name) ?? '') as [string, string];
        if (refuseUploadMarkers && idMarker !== '') throw new S3Error(400, 'InvalidArgument');
        const left = [...bucket.uploads.values()].filter((upload) => (listsUploads === 'BY_PREFIX' ? upload.key.startsWith(prefix) : listsUploads === 'BY_KEY' && upload.key === prefix))
          .filter(({ key: name, id: upload }) => name > keyMarker || (name === keyMarker && idMarker !== '' && upload > idMarker))
          .sort((a, b) => (a.key < b.key || (a.key === b.key && a.id < b.id) ? -1 : 1));
        const page = left.slice(0, pageSize);
        const truncated = left.length > page.length;
        const next = truncated ? `${tag('NextKeyMarker', page.at(-1)?.key ?? '')}${tag('NextUploadIdMarker', page.at(-1)?.id ?? '')}` : '';
        const entries = page.map((upload) => `<Upload>${tag('Key', upload.key)}${tag('UploadId', upload.id)}${tag('Initiated', upload.initiatedAt.toISOString())}</Upload>`);
        return { status: 200, body: xml('ListMultipartUploadsResult', `${tag('Bucket', bucketName)}${tag('IsTruncated', truncated)}${next}${entries.join('')}`) };
      }
      case 'ListParts': {
        const after = Number(query.get('part-number-marker') ?? 0);
        const all = [...bucket.upload(key, id).parts].filter(([number]) => number > after).sort(([a], [b]) => a - b);
        const page = all.slice(0, pageSize);
        const entries = page.map(([number, { body: part, etag, modifiedAt }]) =>
          `<Part>${tag('PartNumber', number)}${tag('LastModified', modifiedAt.toISOString())}${tag('ETag', etag)}${tag('Size', part.length)}</Part>`);
        return { status: 200, body: xml('ListPartsResult', `${tag('IsTruncated', all.length > page.length)}${tag('NextPartNumberMarker', page.at(-1)?.[0] ?? 0)}${entries.join('')}`) };
      }
    }
  };

  /** `/bucket/key` or, with the bucket in the host name, `/key`. */
  const target = (request: IncomingMessage): { key: string; query: URLSearchParams } => {
    const [path = '', query = ''] = (request.url ?? '').split('?', 2);
    const whole = decodeURIComponent(path);
    const inHost = (request.headers.host ?? '').startsWith(`${bucketName}.`);
    if (!inHost && whole !== `/${bucketName}` && !whole.startsWith(`/${bucketName}/`)) throw new S3Error(404, 'NoSuchBucket');
    return { key: inHost ? whole.slice(1) : whole.slice(bucketName.length + 2), query: new URLSearchParams(query) };
  };

  const send = (request: IncomingMessage, response: ServerResponse, { status, headers = {}, body = '' }: Answer, cutAfter?: number): void => {
    const content = Buffer.from(body);
    response.writeHead(status, { 'x-amz-request-id': 'double', ...(request.method === 'HEAD' || status === 204 ? {} : { 'content-length': String(content.length) }), ...headers });
    if (cutAfter === undefined) response.end(request.method === 'HEAD' ? undefined : content);
    else response.write(content.subarray(0, cutAfter), () => setImmediate(() => request.socket.destroy()));
  };

  const sendError = (request: IncomingMessage, response: ServerResponse, status: number, code: string, headers: Readonly<Record<string, string>> = {}): void =>
    send(request, response, { status, headers: { 'content-type': 'application/xml', ...headers }, body: errorXml(code) });

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { key, query } = target(request);
    const operation = operationOf(request.method ?? '', key, query);
    if (operation === undefined) throw new S3Error(501, 'NotImplemented');
    const asked: Asked = { operation, key, query, partNumber: Number(query.get('partNumber') ?? 0), headers: request.headers, body: Buffer.alloc(0) };
    requests.push({ operation, key, partNumber: asked.partNumber, headers: request.headers });
    const effect = faults.effectOn(asked);
    if (effect?.kind === 'error') return sendError(request, response, effect.status, effect.code, effect.headers);
    if (effect?.kind === 'cut') return void request.socket.destroy();
    if (effect?.kind === 'silent') return void request.resume();
    asked.body = await readBody(request);
    const { headers } = request;
    if (refuseChecksums && Object.keys(headers).some((name) => /^x-amz-(checksum-|sdk-checksum|trailer)/.test(name) || (name === 'content-encoding' && headers[name] === 'aws-chunked'))) {
      throw new S3Error(501, 'NotImplemented');
    }
    const fault = signatureFault(request, asked.body, keys);
    if (fault !== null) throw new S3Error(fault === 'XAmzContentSHA256Mismatch' ? 400 : 403, fault);
    if (effect?.kind === 'error in a 200') return send(request, response, { status: 200, body: errorXml(effect.code) });
    if (effect?.kind === 'html') return send(request, response, { status: 200, headers: { 'content-type': 'text/html' }, body: '<html><body>Please log in.</body></html>' });
    if (effect?.kind === 'slow') await sleep(effect.ms);
    if (effect?.kind === 'no range') asked.headers = { ...asked.headers, range: undefined };
    if (effect?.kind === 'cut answer') {
      carryOut(asked);
      return void request.socket.destroy();
    }
    send(request, response, carryOut(asked), effect?.kind === 'cut body' ? effect.bytes : undefined);
  };

  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    underWay.now += 1;
    underWay.most = Math.max(underWay.most, underWay.now);
    response.once('close', () => void (underWay.now -= 1));
    serve(request, response).catch((error: unknown) => {
      if (request.socket.destroyed) return;
      if (error instanceof S3Error) sendError(request, response, error.status, error.code);
      else sendError(request, response, 500, `Double: ${String(error)}`);
    });
  };
  const server = tls ? createTlsServer(tls, onRequest) : createServer(onRequest);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const endpoint = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;

  return {
    endpoint, port, bucketName, keys, bucket, requests, underWay,
    settings: (prefix = '') => ({
      STORE_URL: `s3://${bucketName}/${prefix}?endpoint=${endpoint}`, S3_ACCESS_KEY_ID: keys.accessKeyId, S3_SECRET_ACCESS_KEY: keys.secretAccessKey,
      ...(sessionToken === undefined ? {} : { S3_SESSION_TOKEN: sessionToken }),
    }),
    fail: (match, effect) => faults.add(match, effect),
    heal: () => faults.clear(),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};

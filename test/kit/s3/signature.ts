import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { type IncomingMessage } from 'node:http';

export interface S3Keys {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
}

const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex');
const hmac = (key: Uint8Array | string, data: string): Buffer => createHmac('sha256', key).update(data).digest();
const encode = (text: string): string => encodeURIComponent(text).replace(/[!'()*]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`);

const canonicalQuery = (query: string): string =>
  query.split('&').filter((pair) => pair !== '').map((pair) => {
    const at = pair.indexOf('=');
    const [name, value] = at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
    return `${encode(decodeURIComponent(name))}=${encode(decodeURIComponent(value))}`;
  }).sort().join('&');

const MAX_SKEW_MS = 15 * 60_000;

const timeOf = (stamp: string): number =>
  Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));

/**
 * The error code of a request that is not signed by these keys (AWS Signature Version 4, header form), or null. The body is part of what
 * is signed, by its digest.
 */
export const signatureFault = (request: IncomingMessage, body: Uint8Array, keys: S3Keys): string | null => {
  const header = (name: string): string => String(request.headers[name] ?? '');
  const parsed = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(header('authorization'));
  if (!parsed) return 'AccessDenied';
  const [, keyId = '', date = '', region = '', signedHeaders = '', signature = ''] = parsed;
  if (keyId !== keys.accessKeyId) return 'InvalidAccessKeyId';
  if (header('x-amz-security-token') !== (keys.sessionToken ?? '')) return 'InvalidToken';
  const stamp = header('x-amz-date');
  if (!stamp.startsWith(date) || !(Math.abs(Date.now() - timeOf(stamp)) < MAX_SKEW_MS)) return 'RequestTimeTooSkewed';
  const digest = header('x-amz-content-sha256');
  if (digest !== 'UNSIGNED-PAYLOAD' && digest !== sha256(body)) return 'XAmzContentSHA256Mismatch';
  const names = signedHeaders.split(';');
  if (!names.includes('host') || Object.keys(request.headers).some((name) => name.startsWith('x-amz-') && !names.includes(name))) return 'AccessDenied';
  const [path = '', query = ''] = (request.url ?? '').split('?', 2);
  const canonical = [
    request.method, path, canonicalQuery(query), ...names.map((name) => `${name}:${header(name).trim().replace(/ +/g, ' ')}`), '', signedHeaders, digest,
  ].join('\n');
  const scope = `${date}/${region}/s3/aws4_request`;
  const key = ['aws4_request', 's3', region, date].reduceRight<Buffer | string>((secret, part) => hmac(secret, part), `AWS4${keys.secretAccessKey}`);
  const expected = hmac(key, ['AWS4-HMAC-SHA256', stamp, scope, sha256(canonical)].join('\n'));
  return timingSafeEqual(expected, Buffer.from(signature, 'hex')) ? null : 'SignatureDoesNotMatch';
};

import { canonicalJson, type Json } from '../../../server/engine/archive/canonical-json.js';
import { manifestDigest, manifestHmac } from '../../../server/engine/archive/manifest.js';
import { type Parts, type Scene } from './scene.js';

/** Gives an integer from 0 up to, but not including, its argument. */
export type Random = (below: number) => number;

export interface Mutation {
  kind: string;
  /** What was done, well enough to do it again. */
  what: string;
  /** Null: the object is gone. */
  parts: { [Part in keyof Parts]: Buffer | null };
  /** Sound in itself: only what is known of the archive tells. */
  needsKnown?: true;
}

const HEADER = 64;
const FOOTER = 24;

interface Frame {
  start: number;
  end: number;
}

/** Where the frames of an object are, by its own block headers; the index is the last. */
export const framesOf = (object: Buffer): Frame[] => {
  const frames: Frame[] = [];
  for (let start = HEADER; start < object.length - FOOTER; ) {
    const end = start + 16 + object.readUInt32LE(start) + 16;
    frames.push({ start, end });
    start = end;
  }
  return frames;
};

/** The object with its data blocks in this order; index and footer stay. */
export const inOrder = (object: Buffer, order: readonly number[]): Buffer => {
  const frames = framesOf(object);
  const index = frames.at(-1)?.start ?? HEADER;
  return Buffer.concat([object.subarray(0, HEADER), ...order.map((at) => object.subarray(frames[at]?.start, frames[at]?.end)), object.subarray(index)]);
};

export const flip = (bytes: Buffer, at: number, bit: number): Buffer => {
  const out = Buffer.from(bytes);
  out[at] = (out[at] ?? 0) ^ (1 << bit);
  return out;
};

const noise = (random: Random, length: number): Buffer => Buffer.from(Array.from({ length }, () => random(256)));

type Change = { what: string; bytes: Buffer };

/** Changes of any object. */
const BLIND: Readonly<Record<string, (bytes: Buffer, random: Random) => Change>> = {
  'bit flip'(bytes, random) {
    const [at, bit] = [random(bytes.length), random(8)];
    return { what: `bit ${bit} of byte ${at}`, bytes: flip(bytes, at, bit) };
  },
  'bytes changed'(bytes, random) {
    const out = Buffer.from(bytes);
    const places = Array.from({ length: 1 + random(20) }, () => random(out.length));
    for (const at of places) out[at] = (out[at] ?? 0) ^ (1 + random(255));
    return { what: `bytes ${places.join()}`, bytes: out };
  },
  cut(bytes, random) {
    const length = random(bytes.length);
    return { what: `to ${length} bytes`, bytes: bytes.subarray(0, length) };
  },
  'bytes appended'(bytes, random) {
    const more = [() => noise(random, 1 + random(300)), () => Buffer.alloc(1 + random(300)), () => bytes.subarray(bytes.length - 1 - random(Math.min(300, bytes.length))), () => bytes][random(4)]?.() ?? Buffer.alloc(1);
    return { what: `${more.length} bytes appended`, bytes: Buffer.concat([bytes, more]) };
  },
  'bytes inserted'(bytes, random) {
    const at = random(bytes.length);
    return { what: `at byte ${at}`, bytes: Buffer.concat([bytes.subarray(0, at), noise(random, 1 + random(50)), bytes.subarray(at)]) };
  },
  'bytes left out'(bytes, random) {
    const [at, size] = [random(bytes.length), 1 + random(200)];
    const out = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + size)]);
    // As long as before, or shorter.
    return { what: `${size} from byte ${at}`, bytes: random(2) === 0 ? out : Buffer.concat([out, Buffer.alloc(bytes.length - out.length)]) };
  },
  'a stretch of zeroes'(bytes, random) {
    const at = random(bytes.length);
    return { what: `from byte ${at}`, bytes: Buffer.from(bytes).fill(0, at, Math.min(bytes.length, at + 1 + random(4096))) };
  },
};

/** Changes that know where things are. */
const INFORMED: Readonly<Record<string, (scene: Scene, random: Random) => Change>> = {
  'bit flip at a border'({ whole: { rdb } }, random) {
    const edges = [0, 16, 48, ...framesOf(rdb).flatMap(({ start, end }) => [start, end - 16]), rdb.length - FOOTER];
    const at = Math.min(rdb.length - 1, (edges[random(edges.length)] ?? 0) + random(17));
    const bit = random(8);
    return { what: `bit ${bit} of byte ${at}`, bytes: flip(rdb, at, bit) };
  },
  'cut at a border'({ whole: { rdb } }, random) {
    const edges = [0, HEADER, ...framesOf(rdb).map(({ end }) => end), rdb.length - 1];
    const length = edges[random(edges.length)] ?? 0;
    return { what: `to ${length} bytes`, bytes: rdb.subarray(0, length) };
  },
  'blocks swapped'({ whole: { rdb } }, random) {
    const order = framesOf(rdb).slice(0, -1).map((_, at) => at);
    const one = random(order.length);
    const other = (one + 1 + random(order.length - 1)) % order.length;
    [order[one], order[other]] = [order[other] ?? 0, order[one] ?? 0];
    return { what: order.join(), bytes: inOrder(rdb, order) };
  },
  'block duplicated'({ whole: { rdb } }, random) {
    const order = framesOf(rdb).slice(0, -1).map((_, at) => at);
    const which = random(order.length);
    // In the place of another one, or besides.
    order.splice(random(order.length + 1), random(2), which);
    return { what: order.join(), bytes: inOrder(rdb, order) };
  },
  'block dropped'({ whole: { rdb } }, random) {
    const order = framesOf(rdb).slice(0, -1).map((_, at) => at);
    for (let left = 1 + random(order.length); left > 0; left -= 1) order.splice(random(order.length), 1);
    const bytes = inOrder(rdb, order);
    return { what: order.join(), bytes: random(2) === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(rdb.length - bytes.length)]) };
  },
  'frame of another archive'({ whole: { rdb }, others }, random) {
    const [from, { rdb: theirs }] = pick(Object.entries(others), random);
    const [own, foreign] = [framesOf(rdb), framesOf(theirs)];
    const at = random(own.length);
    const to = random(3) === 0 ? random(foreign.length) : Math.min(at, foreign.length - 1);
    return { what: `${at} by ${to} of ${from}`, bytes: Buffer.concat([rdb.subarray(0, own[at]?.start), theirs.subarray(foreign[to]?.start, foreign[to]?.end), rdb.subarray(own[at]?.end)]) };
  },
  'header of another archive'({ whole: { rdb }, others }, random) {
    const [from, { rdb: theirs }] = pick(Object.entries(others), random);
    return { what: from, bytes: Buffer.concat([theirs.subarray(0, HEADER), rdb.subarray(HEADER)]) };
  },
  'index of another archive'({ whole: { rdb }, others }, random) {
    const [from, { rdb: theirs }] = pick(Object.entries(others), random);
    return { what: from, bytes: Buffer.concat([rdb.subarray(0, framesOf(rdb).at(-1)?.start), theirs.subarray(framesOf(theirs).at(-1)?.start)]) };
  },
};

const pick = <T>(items: readonly T[], random: Random): T => {
  const item = items[random(items.length)];
  if (item === undefined) throw new RangeError('Nothing to pick from');
  return item;
};

type Members = { [name: string]: Json };

const firstArtifact = (body: Members): Members => (body['artifacts'] as Json[])[0] as Members;

/** A manifest changed by one who can compute its digest and has not the key. */
const forgedManifest = (scene: Scene, random: Random): Change => {
  const body = JSON.parse(scene.whole.manifest.toString('utf8')) as Members;
  const theirs = JSON.parse(pick(Object.values(scene.others), random).manifest.toString('utf8')) as Members;
  const changes: [string, () => void][] = [
    ['nothing but its HMAC', () => undefined],
    ['the artifact of another', () => { body['artifacts'] = theirs['artifacts'] ?? []; }],
    ['cipher none', () => { firstArtifact(body)['cipher'] = 'none'; }],
    ['its name', () => { (body['backup'] as Members)['name'] = 'forged'; }],
    ['its counts', () => { (firstArtifact(body)['rdb'] as Members)['keys'] = '1'; }],
    ['its sizes', () => { firstArtifact(body)['plainSize'] = String(1 + random(2 ** 31)); }],
    ['its salt', () => { firstArtifact(body)['salt'] = firstArtifact(theirs)['salt'] ?? ''; }],
    ['its digests', () => { firstArtifact(body)['plainSha256'] = 'ab'.repeat(32); }],
  ];
  const [what, change] = pick(changes, random);
  change();
  const { hmac: old } = body['authentication'] as { hmac: string };
  const wrong = manifestHmac(body, noise(random, 32));
  const hmac = what === 'nothing but its HMAC' ? pick([null, wrong], random) : pick([old, null, wrong], random);
  return { what: `${what}, HMAC ${hmac === null ? 'taken away' : hmac === old ? 'left' : 'made up'}`, bytes: Buffer.from(canonicalJson({ ...body, authentication: { digest: manifestDigest(body), hmac } }), 'utf8') };
};

const PARTS = ['rdb', 'manifest', 'key'] as const;

/** One mutation of the scene's archive; which one is all `random`'s. May now and then have changed nothing. */
export const mutate = (scene: Scene, random: Random): Mutation => {
  const whole: Mutation['parts'] = { ...scene.whole };
  const only = (part: keyof Parts, kind: string, { what, bytes }: Change): Mutation => ({ kind: `${part}: ${kind}`, what, parts: { ...whole, [part]: bytes } });
  const turn = random(100);
  if (turn < 35) {
    const [kind, change] = pick(Object.entries(INFORMED), random);
    return only('rdb', kind, change(scene, random));
  }
  if (turn < 80) {
    // The data twice as often as each of the others.
    const part = pick(['rdb', ...PARTS] as const, random);
    const [kind, change] = pick(Object.entries(BLIND), random);
    return only(part, kind, change(scene.whole[part], random));
  }
  if (turn < 87) return only('manifest', 'forged', forgedManifest(scene, random));
  if (turn < 90) {
    const part = pick(PARTS, random);
    return { kind: `${part}: gone`, what: 'gone', parts: { ...whole, [part]: null } };
  }
  // Whole objects of another archive, one, two or all three of them.
  const [from, theirs] = pick(Object.entries(scene.others), random);
  const taken = PARTS.filter(() => random(2) === 0);
  if (taken.length === 0) taken.push(...PARTS);
  const parts: Mutation['parts'] = { ...whole };
  for (const part of taken) parts[part] = theirs[part];
  // What has no encryption needs no key; that of another attempt has its own.
  const sound = (from === 'unencrypted' && taken.includes('rdb') && taken.includes('manifest')) || (from === 'another attempt' && taken.length === PARTS.length);
  return { kind: 'objects exchanged', what: `${taken.join(', ')} of ${from}`, parts, ...(sound ? { needsKnown: true as const } : {}) };
};

export const changesNothing = ({ parts }: Mutation, { whole }: Scene): boolean => PARTS.every((part) => parts[part]?.equals(whole[part]) === true);

import { scoreText } from '../values/score.js';
import { type Elements, type Fields, type Members } from '../values/sources.js';
import { Batch, word, type Command } from './batch.js';

const HPEXPIREAT = word('HPEXPIREAT');
const FIELDS = word('FIELDS');

export function* elementCommands(head: readonly Buffer[], elements: Elements): Generator<Command, void> {
  const batch = new Batch(head);
  for (let element = elements.next(); element !== null; element = elements.next()) {
    const command = batch.add(element);
    if (command !== null) yield command;
  }
  const rest = batch.rest();
  if (rest !== null) yield rest;
}

/** @param onNan called for each member whose score is no number: no server takes it */
export function* memberCommands(head: readonly Buffer[], members: Members, onNan: () => void): Generator<Command, void> {
  const batch = new Batch(head);
  for (let member = members.next(); member !== null; member = members.next()) {
    if (Number.isNaN(members.score)) {
      onNan();
      continue;
    }
    const command = batch.add(word(scoreText(members.score)), member);
    if (command !== null) yield command;
  }
  const rest = batch.rest();
  if (rest !== null) yield rest;
}

export interface FieldRules {
  /** Whether the target can let fields expire. */
  expires: boolean;
  /** Fields that had expired by then are left out. Unix milliseconds. */
  nowMs: number;
  /** Maps a field's expiry, before it is compared with `nowMs`; null: it does not expire. */
  expiry: (expiresAtMs: number) => number | null;
  /** Called for each field that keeps its value and loses its expiry. */
  onExpiryLost: () => void;
}

/** Fields with their values; behind each command of them, the expiries of its fields, one command per instant. */
export function* fieldCommands(head: readonly Buffer[], key: Buffer, fields: Fields, rules: FieldRules): Generator<Command, void> {
  const batch = new Batch(head);
  let expiries = new Map<number, Buffer[]>();
  const expiryCommands = function* (): Generator<Command, void> {
    const complete = expiries;
    expiries = new Map();
    for (const [at, names] of complete) yield [HPEXPIREAT, key, word(at), FIELDS, word(names.length), ...names];
  };
  for (let field = fields.next(); field !== null; field = fields.next()) {
    const expiresAt = fields.expiresAtMs === null ? null : rules.expiry(fields.expiresAtMs);
    if (expiresAt !== null && expiresAt <= rules.nowMs) continue;
    const command = batch.add(field, fields.value);
    if (command !== null) {
      yield command;
      yield* expiryCommands();
    }
    if (expiresAt === null) continue;
    if (!rules.expires) rules.onExpiryLost();
    else {
      const names = expiries.get(expiresAt);
      if (names === undefined) expiries.set(expiresAt, [field]);
      else names.push(field);
    }
  }
  const rest = batch.rest();
  if (rest !== null) {
    yield rest;
    yield* expiryCommands();
  }
}

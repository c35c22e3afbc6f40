import { GraphQLError, GraphQLScalarType, Kind, type ValueNode } from 'graphql';

/** RFC 3339 with seconds and a zone; at most milliseconds. */
const INSTANT = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,3}))?(?:Z|([+-])(\d{2}):(\d{2}))$/;
const DECIMAL = /^-?(?:0|[1-9]\d{0,38})$/;

const refuse = (expected: string, node?: ValueNode): GraphQLError =>
  new GraphQLError(expected, node === undefined ? undefined : { nodes: [node] });

/** Unlike `Date.parse`, refuses days that do not exist (30 February), hour 24, second 60, and times without a zone. */
export const parseInstant = (text: string): Date | undefined => {
  const match = INSTANT.exec(text);
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [number, number, number, number, number, number];
  const ms = Number((match[7] ?? '0').padEnd(3, '0'));
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const local = new Date(0);
  local.setUTCFullYear(year, month - 1, day);
  local.setUTCHours(hour, minute, second, ms);
  if (local.getUTCFullYear() !== year || local.getUTCMonth() !== month - 1 || local.getUTCDate() !== day) return undefined;
  const [zoneHours, zoneMinutes] = [Number(match[9] ?? 0), Number(match[10] ?? 0)];
  if (zoneHours > 23 || zoneMinutes > 59) return undefined;
  const offset = (match[8] === '-' ? -1 : 1) * (zoneHours * 60 + zoneMinutes) * 60_000;
  return new Date(local.getTime() - offset);
};

const NOT_AN_INSTANT = 'A DateTime is an ISO 8601 instant with a zone, such as "2026-03-01T02:00:00.000Z".';

const instantFrom = (value: unknown, node?: ValueNode): Date => {
  const instant = typeof value === 'string' ? parseInstant(value) : undefined;
  if (!instant) throw refuse(NOT_AN_INSTANT, node);
  return instant;
};

export const DateTime = new GraphQLScalarType<Date, string>({
  name: 'DateTime',
  serialize(value) {
    if (!(value instanceof Date) || Number.isNaN(value.getTime())) throw new TypeError('A DateTime field was given something else than a valid Date.');
    return value.toISOString();
  },
  parseValue: (value) => instantFrom(value),
  parseLiteral: (node) => instantFrom(node.kind === Kind.STRING ? node.value : undefined, node),
});

const NOT_A_NUMBER = 'A BigInt is a whole number, as a decimal string such as "1099511627776" or as an Int.';

const bigintFrom = (value: unknown, node?: ValueNode): bigint => {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  if (typeof value === 'string' && DECIMAL.test(value)) return BigInt(value);
  throw refuse(NOT_A_NUMBER, node);
};

/** A decimal string on the wire. Numbers (measured rates) are rounded on the way out. */
export const BigIntScalar = new GraphQLScalarType<bigint, string>({
  name: 'BigInt',
  serialize(value) {
    if (typeof value === 'bigint') return value.toString();
    if (typeof value === 'number' && Number.isFinite(value)) return BigInt(Math.round(value)).toString();
    throw new TypeError('A BigInt field was given something else than a bigint or a finite number.');
  },
  parseValue: (value) => bigintFrom(value),
  parseLiteral: (node) => bigintFrom(node.kind === Kind.STRING || node.kind === Kind.INT ? node.value : undefined, node),
});

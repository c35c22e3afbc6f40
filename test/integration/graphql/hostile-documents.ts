import { getIntrospectionQuery } from 'graphql';

/** An operation that somebody sends to see what breaks. */
export interface Hostile {
  what: string;
  query: string;
  /** The same for a socket, where another operation is needed to come as far. Default `query`. */
  subscription?: string;
  variables?: unknown;
}

const times = (count: number, piece: string | ((at: number) => string), between = ' '): string => Array.from({ length: count }, (_, at) => (typeof piece === 'string' ? piece : piece(at))).join(between);
const wrapped = (count: number, open: string, inner: string, close = ' }'): string => `${open.repeat(count)}${inner}${close.repeat(count)}`;

/** A selection of fields of a backup, where a list and where an event has one. */
const ofBackup = (what: string, fields: string, rest = ''): Hostile =>
  ({ what, query: `{ backups { nodes { ${fields} } } } ${rest}`, subscription: `subscription { jobEvents { job { backup { ${fields} } } } } ${rest}` });
/** A document for both. */
const alike = (what: string, query: string, variables?: unknown): Hostile => ({ what, query, variables });
const filtered = (what: string, variables: unknown, type = 'BackupFilter', field = 'backups'): Hostile =>
  ({ what, query: `query ($f: ${type}) { ${field}(filter: $f) { totalCount } }`, subscription: 'subscription ($f: JobEventFilter) { jobEvents(filter: $f) { cursor } }', variables });
const paged = (what: string, variables: unknown): Hostile =>
  ({ what, query: 'query ($n: Int, $a: String) { backups(first: $n, after: $a) { totalCount } }', subscription: 'subscription ($n: String, $a: String) { jobEvents(after: $a) { cursor } }', variables });

const doubling = (levels: number): Hostile =>
  ofBackup(`fragments that double ${levels} times`, '...f0', times(levels, (at) => `fragment f${at} on Backup { ${at === levels - 1 ? 'id' : `instance { latestBackup { id } } ...f${at + 1} ...f${at + 1}`} }`));
const tree = (levels: number): string => (levels === 0 ? 'id' : `latestBackup { instance { ${tree(levels - 1)} } } latestBackup { instance { ${tree(levels - 1)} } }`);

const MEGABYTE = 1_000_000;
const introspection = getIntrospectionQuery({ descriptions: true }).replace(/^[^{]*\{/, '{');
const fullSchema = /\{\s*(__schema[^]*\})\s*\}\s*fragment FullType/.exec(introspection)?.[1] ?? '';
const fragments = introspection.slice(introspection.indexOf('fragment FullType'));

export const HOSTILE: readonly Hostile[] = [
  ...[8, 12, 20, 30, 45].map(doubling),
  ofBackup('fragments that triple', '...f0', times(20, (at) => `fragment f${at} on Backup { id ${at === 19 ? '' : times(3, `...f${at + 1}`)} }`)),
  ofBackup('fragments that double into nothing', '...f0', times(45, (at) => `fragment f${at} on Backup { ...f${at + 1} ...f${at + 1} }`)),
  ofBackup('a fragment of itself', '...f', 'fragment f on Backup { id ...f }'),
  ofBackup('a ring of 40 fragments', '...f0', times(40, (at) => `fragment f${at} on Backup { id ...f${(at + 1) % 40} }`)),
  ofBackup('a ring over fields', '...f', 'fragment f on Backup { instance { latestBackup { ...f } } }'),
  ofBackup('a fragment that is nowhere', '...gone'),
  alike('1,000 fragments that nobody spreads', `{ viewer { role } } ${times(1_000, (at) => `fragment f${at} on Backup { id }`)}`),
  ofBackup('200 spreads of one fragment', times(200, '...f'), 'fragment f on Backup { id name state }'),

  ...[101, 1_000].map((count) => ofBackup(`${count} aliases`, times(count, (at) => `a${at}: id`))),
  ofBackup('20,000 aliases', times(20_000, (at) => `a${at}: id`)),
  ofBackup('2,000 aliases of one name', times(1_000, 'a: id')),
  alike('100 aliased lists', `{ ${times(100, (at) => `a${at}: backups(first: 100) { nodes { id name state instance { id name } } }`)} }`),
  alike('20 aliased lists of 100', `{ ${times(20, (at) => `a${at}: backups(first: 100) { nodes { id name state instance { id name } job { id state } } }`)} }`),
  alike('500 times a count', `{ ${times(500, (at) => `a${at}: backups { totalCount }`)} }`),

  ...[7, 50, 300, 900].map((levels) => ofBackup(`${levels * 2} levels`, wrapped(levels, 'instance { latestBackup { ', 'id', ' } }'))),
  ofBackup('1,300 inline fragments in each other', wrapped(1_300, '... { ', 'id')),
  ofBackup('600 typed inline fragments in each other', wrapped(600, '... on Backup { ', 'id')),
  alike('1,900 braces', `{ ${wrapped(1_900, 'a { ', 'b')}`),
  alike('lists in lists', '{ instances(first: 100) { nodes { latestBackup { instance { slots(first: 100) { nodes { id instance { slots(first: 100) { nodes { id } } } } } } } } } }'),

  alike('a list of 3,000 in the document', `{ backups(filter: { states: [${times(3_000, 'AVAILABLE')}] }) { totalCount } }`),
  filtered('a list of 100,000', { f: { states: Array.from({ length: 100_000 }, () => 'AVAILABLE') } }),
  filtered('a list of 50,000 wrong ones', { f: { states: Array.from({ length: 50_000 }, () => 'NOWHERE') } }),
  filtered('a list of 200,000 nulls', { f: { states: Array.from({ length: 200_000 }, () => null) } }),
  filtered('lists nested 2,000 deep', { f: JSON.parse(`${'['.repeat(2_000)}${']'.repeat(2_000)}`) as unknown }),
  alike('a value nested 1,900 deep', `{ backups(filter: ${wrapped(950, '{ a: ', '1')}) { totalCount } }`),
  alike('a list nested 1,900 deep', `{ backups(filter: { states: ${'['.repeat(1_900)}${']'.repeat(1_900)} }) { totalCount } }`),

  ofBackup('51 directives on one field', `id ${times(51, '@skip(if: false)')}`),
  ofBackup('600 directives on one field', `id ${times(600, '@include(if: true)')}`),
  ofBackup('1,900 directives that nobody knows', `id ${times(1_900, '@nobody')}`),
  ofBackup('a directive on each of 300 fields', times(300, 'id @skip(if: true)')),
  alike('1,000 directives on the operation', `query ${times(1_000, '@nobody')} { viewer { role } }`),
  alike('1,000 directives on a variable', `query ($a: Int ${times(1_000, '@nobody')}) { backups(first: $a) { totalCount } }`),

  ofBackup('a field 1,900 times', times(1_900, 'id')),
  ofBackup('fields that cannot be one, 400 times', times(400, 'x: id x: name')),
  ofBackup('nine levels of pairs', `instance { ${tree(4)} }`),
  ofBackup('five levels of five', (function five(levels: number): string { return levels === 0 ? 'id' : times(5, `instance { ${five(levels - 1)} }`); })(3)),
  ofBackup('45 fragments of the same 20 fields', times(45, (at) => `...f${at}`), times(45, (at) => `fragment f${at} on Backup { ${times(20, 'id')} }`)),
  alike('one list 150 times with other arguments', `{ ${times(150, (at) => `backups(first: ${at}) { totalCount }`)} }`),

  alike('the whole schema three times', `{ ${times(3, (at) => `a${at}: ${fullSchema}`)} } ${fragments}`),
  alike('the whole schema 20 times', `{ ${times(20, (at) => `a${at}: ${fullSchema}`)} } ${fragments}`),
  alike('a bomb of types', `{ __schema { types { ${wrapped(7, 'fields { type { ', 'name', ' } }')} } } }`),
  alike('a chain of 60 types', `{ __type(name: "Backup") { ${wrapped(60, 'ofType { ', 'name')} } }`),
  alike('80 types by name', `{ ${times(80, (at) => `a${at}: __type(name: "Backup") { name fields { name } }`)} }`),
  ofBackup('1,500 names of types', times(1_500, '__typename')),
  { what: 'introspection of a subscription', query: 'query { __schema { queryType { name } } __type(name: "Job") { name } }', subscription: 'subscription { __schema { queryType { name } } }' },

  filtered('a filter that is a text', { f: 'hunter2' }), filtered('a filter that is a list', { f: [1, 2, 3] }), filtered('a filter with 1,500 unknown names', { f: Object.fromEntries(Array.from({ length: 1_500 }, (_, at) => [`n${at}`, at])) }),
  filtered('a filter of prototypes', { f: JSON.parse('{"__proto__":{"states":["AVAILABLE"]},"constructor":1}') as unknown }),
  filtered('30,000 variables that nobody declared', Object.fromEntries(Array.from({ length: 30_000 }, (_, at) => [`v${at}`, at]))),
  filtered('a state of a megabyte', { f: { states: ['x'.repeat(MEGABYTE)] } }), filtered('an id of a megabyte', { f: { instanceId: 'i'.repeat(MEGABYTE) } }),
  filtered('an id with NUL', { f: { instanceId: 'ins_\0' } }), filtered('an id of half a character', { f: { instanceId: 'ins_\ud800' } }),
  alike('variables that are a list', 'query ($f: BackupFilter) { backups(filter: $f) { totalCount } }', [1, 2, 3]),
  paged('a page of 1e300', { n: 1e300 }), paged('a page below nothing', { n: -1 }), paged('a page that is a text', { n: 'many' }), paged('a cursor of a megabyte', { a: 'c'.repeat(MEGABYTE) }),
  paged('a cursor with NUL', { a: 'AAAA\0AAAA' }), paged('a cursor of half a character', { a: '\udfff' }), paged('a cursor that is none', { a: 'eyJhIjoxfQ' }),
  alike('a page with 400 digits', `{ backups(first: ${'9'.repeat(400)}) { totalCount } }`),
  alike('1,000 declared variables', `query (${times(1_000, (at) => `$v${at}: Int`)}) { viewer { role } }`),
  alike('a default of 1,500 values', `query ($v: BackupFilter = { states: [${times(1_500, 'AVAILABLE')}] }) { backups(filter: $v) { totalCount } }`),

  alike('a text of a megabyte', `{ node(id: "${'x'.repeat(MEGABYTE)}") { id } }`), alike('a block text of 60 kB', `{ node(id: """${'x\n'.repeat(30_000)}""") { id } }`),
  alike('NUL in a text', '{ node(id: "bak_\\u0000") { id } }'), alike('NUL in the document', '{ viewer { role } }\0'), alike('half a character in a text', '{ node(id: "bak_\\ud800") { id } }'),
  alike('half a character in the document', '{ node(id: "\ud800") { id } }'), alike('a character above all', '{ node(id: "\\u{110000}") { id } }'), alike('a comment of a megabyte', `{ viewer { role } } #${'x'.repeat(MEGABYTE)}`),
  alike('90,000 commas', `{ viewer { role } }${','.repeat(90_000)}`), alike('a name of 90,000 letters', `{ ${'n'.repeat(90_000)} }`), alike('a name of 500 kB', `{ ${'n'.repeat(500_000)} }`),
  alike('1,000 operations', times(1_000, (at) => `query q${at} { viewer { role } }`)), alike('two operations and no choice', 'query a { viewer { role } } query b { viewer { role } }'),
  alike('no document', ''), alike('only blanks', ' '.repeat(1_000)), alike('only braces', '{'.repeat(3_900)), alike('a schema', 'type Query { a: Int }'), alike('no text at all', '\ufeff'),
];

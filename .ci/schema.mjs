// What has become of the contract since the last release, which version that asks for, and whether it may be released so.
import { readFileSync, readdirSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import {
  buildSchema, findBreakingChanges, findDangerousChanges, isEnumType, isInputObjectType, isInterfaceType, isObjectType, isSpecifiedScalarType, isUnionType,
} from 'graphql';

/** Every element of a schema by its coordinate (`Type`, `Type.field`, `Type.field(argument:)`, `Enum.VALUE`, `@directive`). */
const elementsOf = (schema) => {
  const elements = new Map();
  for (const type of Object.values(schema.getTypeMap())) {
    if (type.name.startsWith('__') || isSpecifiedScalarType(type)) continue;
    elements.set(type.name, type);
    if (isEnumType(type)) for (const value of type.getValues()) elements.set(`${type.name}.${value.name}`, value);
    if (isUnionType(type)) for (const member of type.getTypes()) elements.set(`${type.name} | ${member.name}`, { description: null });
    if (!isObjectType(type) && !isInterfaceType(type) && !isInputObjectType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      elements.set(`${type.name}.${field.name}`, field);
      for (const argument of field.args ?? []) elements.set(`${type.name}.${field.name}(${argument.name}:)`, argument);
    }
  }
  return elements;
};

const DATE = /\b(\d{4}-\d{2}-\d{2})\b/;

/** The first day on which something deprecated may go; undefined when its reason does not say. */
const goesOn = (reason) => {
  const [, date] = DATE.exec(reason ?? '') ?? [];
  return date !== undefined && !Number.isNaN(Date.parse(date)) && new Date(date).toISOString().startsWith(date) ? date : undefined;
};

const parseVersion = (version) => {
  const [, ...parts] = /^(\d+)\.(\d+)\.(\d+)/.exec(version) ?? [];
  if (parts.length !== 3) throw new Error(`"${version}" is no version.`);
  return parts.map(Number);
};

const isBelow = (one, other) => {
  const at = one.findIndex((part, i) => part !== other[i]);
  return at >= 0 && one[at] < other[at];
};

/**
 * The smallest version that may carry a change of that size. Before 1.0 the minor version stands in the place of the major one, and the patch
 * version in that of the minor one (SemVer leaves 0.x open; package managers read `^0.1.0` so).
 */
export const nextVersion = (released, size) => {
  const [major, minor, patch] = parseVersion(released);
  if (size === 'none') return released;
  if (size === 'breaking') return major === 0 ? `0.${minor + 1}.0` : `${major + 1}.0.0`;
  if (size === 'addition' && major > 0) return `${major}.${minor + 1}.0`;
  return `${major}.${minor}.${patch + 1}`;
};

/**
 * Compares two schemas.
 * @param {{ released: string, current: string }} sdl
 * @param {{ released: string, current: string }} versions of the last release, and of the package as it stands
 * @param {string} today ISO 8601 date
 * @returns {{ changes: { kind: 'breaking' | 'dangerous' | 'addition' | 'deprecation' | 'wording', what: string }[], next: string, faults: string[] }}
 */
export const judgeSchema = (sdl, versions, today) => {
  const [before, after] = [buildSchema(sdl.released), buildSchema(sdl.current)];
  const [old, now] = [elementsOf(before), elementsOf(after)];
  const changes = [
    ...findBreakingChanges(before, after).map(({ description }) => ({ kind: 'breaking', what: description })),
    ...findDangerousChanges(before, after).map(({ description }) => ({ kind: 'dangerous', what: description })),
  ];
  const note = (kind, what) => changes.push({ kind, what });
  for (const [name, element] of now) {
    const was = old.get(name);
    const parent = name.replace(/(?: \| |\(|\.)[^.(|]*$/, '');
    if (was === undefined) {
      if (parent === name || old.has(parent)) note('addition', `${name} was added.`);
      continue;
    }
    if (was.deprecationReason == null && element.deprecationReason != null) note('deprecation', `${name} was deprecated: ${element.deprecationReason}`);
    else if (was.deprecationReason !== element.deprecationReason) note('deprecation', `${name} has another deprecation: ${element.deprecationReason ?? 'none any more.'}`);
    if (was.description !== element.description) note('wording', `${name} is described otherwise.`);
  }

  const faults = [];
  for (const [name, { deprecationReason }] of now) {
    if (deprecationReason == null) continue;
    if (goesOn(deprecationReason) === undefined) faults.push(`${name} is deprecated without the day on which it may go: say "Use … . Goes YYYY-MM-DD."`);
    else if (!/\bUse\b/.test(deprecationReason)) faults.push(`${name} is deprecated without its replacement: say "Use … . Goes YYYY-MM-DD."`);
  }
  const stable = parseVersion(versions.released)[0] > 0;
  for (const [name, { deprecationReason }] of old) {
    if (now.has(name)) continue;
    const parent = name.replace(/(?: \| |\(|\.)[^.(|]*$/, '');
    if (parent !== name && !now.has(parent)) continue;
    const day = goesOn(deprecationReason);
    if (day !== undefined && today < day) faults.push(`${name} is gone before ${day}, the day that its deprecation promised.`);
    else if (stable && day === undefined) faults.push(`${name} is gone and was never deprecated.`);
  }

  const size = changes.some(({ kind }) => kind === 'breaking') ? 'breaking' : changes.some(({ kind }) => kind !== 'wording') ? 'addition' : changes.length > 0 ? 'wording' : 'none';
  const next = nextVersion(versions.released, size);
  const [have, need] = [parseVersion(versions.current), parseVersion(next)];
  // An addition may be made any time; its version comes with the release. What breaks is refused until the version says so.
  if (isBelow(have, parseVersion(versions.released))) faults.push(`The package's version ${versions.current} is below ${versions.released}, which was released.`);
  else if (size === 'breaking' && isBelow(have, need)) faults.push(`This breaks what ${versions.released} promises, within the same ${stable ? 'major' : 'minor'} version: it needs ${next}, and the package says ${versions.current}.`);
  else if (versions.current !== versions.released && isBelow(have, need)) faults.push(`The version ${versions.current} is too low for what has changed since ${versions.released}: it needs ${next}.`);
  return { changes, next, faults };
};

/** The contract as it stood at the last release. */
export const readReleased = (folder = 'sdk/released') => {
  const versions = readdirSync(folder).flatMap((name) => /^(\d+\.\d+\.\d+)\.graphql$/.exec(name)?.[1] ?? []);
  const [version] = versions.sort((a, b) => (isBelow(parseVersion(a), parseVersion(b)) ? 1 : -1));
  if (version === undefined) throw new Error(`${folder} holds no schema of a release.`);
  return { version, sdl: readFileSync(`${folder}/${version}.graphql`, 'utf8') };
};

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const released = readReleased();
  const { version } = JSON.parse(readFileSync('sdk/package.json', 'utf8'));
  const current = readdirSync('schema').filter((name) => name.endsWith('.graphql')).sort().map((name) => readFileSync(`schema/${name}`, 'utf8')).join('\n');
  const { changes, next, faults } = judgeSchema({ released: released.sdl, current }, { released: released.version, current: version }, new Date().toISOString().slice(0, 10));
  for (const { kind, what } of changes) if (kind !== 'wording' || process.argv.includes('--all')) console.log(`${kind.padEnd(11)} ${what}`);
  console.log(`${changes.length} changes since ${released.version}; the next release is ${next} or higher.`);
  for (const fault of faults) console.error(`REFUSED: ${fault}`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/*
 * Who may import what. Longest matching folder or file wins, on both sides. A folder may always import itself. `types` may be imported
 * for their types only, so that nothing of them is loaded.
 */
interface Rule {
  may: readonly string[];
  types?: readonly string[];
  /** Packages that must not be imported here; Node's own are meant by `node:`. */
  never?: readonly string[];
}

/** app.ts, main.ts and what else stands directly in server/: they put the parts together, and no part imports them. */
const COMPOSITION = 'server/*.ts';

const FRAMEWORKS = ['graphql', 'type-graphql', 'typeorm', 'pg', 'agenda', 'express', '@apollo/server', 'graphql-ws'];

const RULES: Readonly<Record<string, Rule>> = {
  'server/domain': { may: [], never: [...FRAMEWORKS, 'node:'] },
  'server/engine': { may: ['server/domain'], never: FRAMEWORKS },
  'server/services': { may: ['server/domain'], types: ['server/engine'], never: FRAMEWORKS },
  // A data source names its migrations.
  'server/db': { may: ['migrations', 'server/domain', 'server/services/ports.ts', 'server/engine/ports.ts'], types: ['server/services/records.ts', 'server/services'] },
  'server/events': { may: ['server/domain', 'server/services/ports.ts', 'server/engine/ports.ts'], types: ['server/services'] },
  'server/jobs': { may: ['server/domain', 'server/services/ports.ts', 'server/engine/ports.ts'], types: ['server/services', 'server/engine'] },
  'server/jobs/tasks': { may: ['server/domain', 'server/services', 'server/engine', 'server/jobs'] },
  'server/jobs/upkeep': { may: ['server/domain', 'server/services', 'server/engine', 'server/jobs'] },
  'server/security': { may: ['server/domain', 'server/services/ports.ts', 'server/engine/ports.ts'], types: ['server/services'] },
  'server/graphql': { may: ['server/domain', 'server/services'], never: ['express', '@apollo/server', 'graphql-ws', 'typeorm', 'pg', 'agenda'] },
  'server/http': { may: ['server/domain', 'server/services', 'server/graphql'], never: ['typeorm', 'pg', 'agenda', 'ioredis'] },
  'server/config': { may: [] },
  'server/telemetry': { may: [] },
  'server/offline': { may: ['server/domain', 'server/engine'], never: FRAMEWORKS },
  'server/embedded': { may: ['server/domain', 'server/engine/ports.ts'] },
  [COMPOSITION]: { may: ['server', 'migrations'] },
  migrations: { may: [] },
  'sdk/src': { may: [], never: [...FRAMEWORKS, 'node:'] },
};

const filesBelow = (folder: string): string[] => {
  let names: string[];
  try {
    names = readdirSync(join(ROOT, folder));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return names.flatMap((name) => {
    const path = `${folder}/${name}`;
    if (statSync(join(ROOT, path)).isDirectory()) return name === 'node_modules' || name === 'dist' ? [] : filesBelow(path);
    return /\.(ts|js|mjs)$/.test(name) ? [path] : [];
  });
};

const covers = (folder: string, path: string): boolean => path === folder || path.startsWith(`${folder}/`);
const ruleFor = (path: string): string | undefined => /^server\/[^/]+\.ts$/.test(path) ? COMPOSITION : Object.keys(RULES).filter((folder) => covers(folder, path)).sort((a, b) => b.length - a.length)[0];

interface Import {
  specifier: string;
  typeOnly: boolean;
}

/** Static, dynamic and re-exporting imports of a source text, with whether anything of them is left at run time. */
const importsOf = (path: string, text: string): Import[] => {
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier)) {
      const clause = ts.isImportDeclaration(node) ? node.importClause : undefined;
      const names = ts.isImportDeclaration(node)
        ? clause?.namedBindings && ts.isNamedImports(clause.namedBindings) ? clause.namedBindings.elements : undefined
        : node.exportClause && ts.isNamedExports(node.exportClause) ? node.exportClause.elements : undefined;
      const whole = ts.isExportDeclaration(node) ? node.isTypeOnly : clause?.isTypeOnly === true;
      const each = names !== undefined && names.length > 0 && clause?.name === undefined && names.every((name) => name.isTypeOnly);
      found.push({ specifier: node.moduleSpecifier.text, typeOnly: whole || each });
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword && node.arguments[0] && ts.isStringLiteral(node.arguments[0])) {
      found.push({ specifier: node.arguments[0].text, typeOnly: false });
    }
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
      found.push({ specifier: node.argument.literal.text, typeOnly: true });
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true));
  return found;
};

const breaches = (path: string, text: string): string[] => {
  const folder = ruleFor(path);
  if (folder === undefined) return [`${path} stands in no known folder`];
  const rule = RULES[folder] ?? { may: [] };
  return importsOf(path, text).flatMap(({ specifier, typeOnly }) => {
    if (!specifier.startsWith('.')) {
      const banned = rule.never?.find((name) => specifier === name || specifier.startsWith(name.endsWith(':') ? name : `${name}/`));
      return banned === undefined || (typeOnly && banned === 'node:') ? [] : [`${path} imports the package ${specifier}`];
    }
    const target = relative(ROOT, join(ROOT, dirname(path), specifier)).split(sep).join('/').replace(/\.js$/, '.ts');
    const home = ruleFor(target);
    const allowed = home === folder || rule.may.some((name) => covers(name, target)) || (typeOnly && rule.types?.some((name) => covers(name, target)) === true);
    return allowed ? [] : [`${path} imports ${target}${typeOnly ? ' (types)' : ''}`];
  });
};

const sources = ['server', 'migrations', 'sdk/src'].flatMap(filesBelow);

describe('the layers', () => {
  it('import only what they may', () => {
    expect(sources.length).toBeGreaterThan(50);
    expect(sources.flatMap((path) => breaches(path, readFileSync(join(ROOT, path), 'utf8')))).toEqual([]);
  });

  it.each([
    ['server/domain/x.ts', "import { y } from '../engine/y.js';"], ['server/domain/x.ts', "import { readFile } from 'node:fs/promises';"],
    ['server/domain/x.ts', "export * from '../services/api.js';"], ['server/engine/x.ts', "import { type GraphQLSchema } from 'graphql';"],
    ['server/engine/rdb/x.ts', "const y = await import('../../db/y.js');"], ['server/services/x.ts', "import { seal } from '../engine/archive/seal.js';"],
    ['server/graphql/resolvers/x.ts', "import { type Repo } from '../../db/repo.js';"], ['server/graphql/x.ts', "import { app } from '../http/app.js';"],
    ['server/http/x.ts', "type Log = import('../engine/ports.js').Log;"], ['server/telemetry/x.ts', "import { DomainError } from '../domain/errors.js';"],
    ['server/jobs/x.ts', "import { BackupService } from '../services/backup.service.js';"], ['sdk/src/x.ts', "import { ERROR_CODES } from '../../server/domain/errors.js';"],
    ['sdk/src/x.ts', "import { parse } from 'graphql';"], ['server/unknown/x.ts', ''],
  ])('would be reported for %s with %s', (path, text) => {
    expect(breaches(path, text)).toHaveLength(1);
  });
});

/** Where a source reads the environment. In code: what stands in a text or a comment is no reading. */
const environmentReads = (path: string, text: string): string[] => {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const read = (ts.isPropertyAccessExpression(node) && node.name.text === 'env')
      || (ts.isElementAccessExpression(node) && ts.isStringLiteral(node.argumentExpression) && node.argumentExpression.text === 'env');
    const taken = ts.isVariableDeclaration(node) && ts.isObjectBindingPattern(node.name) && node.initializer?.getText() === 'process' && /\benv\b/.test(node.name.getText());
    const imported = ts.isImportDeclaration(node) && /^['"](?:node:)?process['"]$/.test(node.moduleSpecifier.getText());
    if (taken || imported) found.push(`${path}: ${node.getText()}`);
    if (read && /^(?:globalThis\.)?process$|^import\.meta$/.test(node.expression.getText())) found.push(`${path}: ${node.parent.getText()}`);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true));
  return found;
};

describe('the environment', () => {
  it('is read by server/config alone, which main.ts hands it to', () => {
    const reads = sources.filter((path) => !path.startsWith('server/config/')).flatMap((path) => environmentReads(path, readFileSync(join(ROOT, path), 'utf8')));
    expect(reads.filter((read) => read !== 'server/main.ts: readConfig(process.env)')).toEqual([]);
  });

  it.each(["process.env['HOME']", 'const { env } = process;', "import { env } from 'node:process';", 'globalThis.process.env.HOME', "process['env'].HOME", 'import.meta.env.MODE'])('would be found in %s', (text) => {
    expect(environmentReads('x.ts', text).length).toBeGreaterThan(0);
    expect(environmentReads('x.ts', `// ${text}\nconst help = ${JSON.stringify(text)};`)).toEqual([]);
  });
});

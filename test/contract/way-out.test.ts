import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const SERVER = fileURLToPath(new URL('../../server', import.meta.url));

/** What does not open connections of the modules of Node that can; its other modules cannot. */
const HARMLESS_PARTS: Readonly<Record<string, readonly string[]>> = {
  'node:net': ['BlockList', 'createServer', 'isIP', 'isIPv4', 'isIPv6'], 'node:tls': ['createSecureContext', 'createServer'], 'node:http': ['createServer', 'STATUS_CODES'],
  'node:https': [], 'node:http2': [], 'node:dgram': [], 'node:dns': [], 'node:dns/promises': [], 'node:child_process': [], 'node:inspector': [],
  pg: ['DatabaseError'], ws: ['WebSocketServer'], jose: ['customFetch', 'errors', 'jwtVerify'],
};
/** Packages that open none. Whichever stands neither here nor above has not been judged. */
const HARMLESS: readonly string[] = [
  'graphql', 'type-graphql', 'reflect-metadata', '@graphql-tools/schema', '@apollo/server', '@apollo/server/plugin/disabled', '@as-integrations/express5', 'express', 'graphql-ws', 'prom-client', '@aws-sdk/core/client',
];

/** Who else connects, and to what: to this installation's own parts only, none of which a caller of the API can choose. */
const OWN_PARTS: Readonly<Record<string, RegExp>> = {
  'security/dial.ts': /^node:(net|tls|dns\/promises) /,
  // Over a socket that dial() has opened.
  'engine/control.ts': /^ioredis Redis$/,
  // Agents that get every socket from dial().
  'engine/dial-agents.ts': /^node:https? Agent$/,
  // Through those agents.
  'security/webhook.ts': /^node:https? request$/,
  'security/fetch-json.ts': /^node:https? request$/,
  // With the fetch that it is given.
  'security/oidc.ts': /^jose createRemoteJWKSet$/,
  'engine/store/s3-client.ts': /^@aws-sdk\/client-s3 /,
  'events/listener.ts': /^pg Client$/,
};
const OWN_FOLDERS: Readonly<Record<string, RegExp>> = { embedded: /^(node:(net|child_process)|ioredis|pg) /, db: /^(pg|typeorm) /, jobs: /^(pg|mongodb|agenda|@agendajs\/[a-z-]+) / };

/** What Node has without an import. */
const GLOBALS = new Set(['fetch', 'WebSocket', 'EventSource', 'XMLHttpRequest']);
const LOADERS = new Set(['require', 'getBuiltinModule', 'binding']);

const judged = (from: string, name: string): string[] => {
  if (from.startsWith('.') || HARMLESS.includes(from)) return [];
  const parts = HARMLESS_PARTS[from];
  if (from.startsWith('node:') && parts === undefined) return [];
  return parts?.includes(name) ? [] : [`${from} ${name}`];
};

/** Whatever a source could open a connection with, as `module name` or the name of a global. */
const waysOut = (path: string, text: string): string[] => {
  const found: string[] = [];
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const declared = new Set<string>();
  /** Whether it only names something: a property, a parameter, a variable, a type. */
  const isName = (node: ts.Identifier): boolean => {
    const { parent } = node;
    if (ts.isPropertyAccessExpression(parent)) return parent.name === node && parent.expression.getText() !== 'globalThis';
    return ts.isTypeNode(parent) || ts.isImportSpecifier(parent) || ('name' in parent && parent.name === node);
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier) && node.importClause?.isTypeOnly !== true) {
      const from = node.moduleSpecifier.text;
      const { name, namedBindings } = node.importClause ?? {};
      if (name) found.push(...judged(from, 'default'));
      if (namedBindings && ts.isNamespaceImport(namedBindings)) found.push(...judged(from, '*'));
      if (namedBindings && ts.isNamedImports(namedBindings)) for (const one of namedBindings.elements) if (!one.isTypeOnly) found.push(...judged(from, (one.propertyName ?? one.name).text));
    }
    if (ts.isExportDeclaration(node) && node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier) && !node.isTypeOnly) found.push(...judged(node.moduleSpecifier.text, '*'));
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [from] = node.arguments;
      found.push(...(from && ts.isStringLiteral(from) ? judged(from.text, 'import()') : ['import() of what is not written there']));
    }
    if ((ts.isParameter(node) || ts.isVariableDeclaration(node)) && ts.isIdentifier(node.name)) declared.add(node.name.text);
    if (ts.isIdentifier(node) && GLOBALS.has(node.text) && !isName(node) && !declared.has(node.text)) found.push(node.text);
    if (ts.isIdentifier(node) && LOADERS.has(node.text) && ts.isCallExpression(node.parent) && node.parent.expression === node) found.push(node.text);
    if (ts.isPropertyAccessExpression(node) && LOADERS.has(node.name.text) && node.expression.getText() === 'process') found.push(node.name.text);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
};

describe('the way out', () => {
  const files = readdirSync(SERVER, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const found = files.flatMap((file) => waysOut(file, readFileSync(join(SERVER, file), 'utf8')).map((what) => ({ file, what })));

  it('is one: only dial() opens connections to addresses that come from outside', () => {
    expect(found.filter(({ file, what }) => !(OWN_PARTS[file] ?? OWN_FOLDERS[file.split('/')[0] ?? ''])?.test(what))).toEqual([]);
    expect(found).toContainEqual({ file: 'security/dial.ts', what: 'node:net connect' });
    expect(found).toContainEqual({ file: 'engine/control.ts', what: 'ioredis Redis' });
  });

  it('has one policy, which nobody goes without', () => {
    const users = (name: string): string[] => files.filter((file) => readFileSync(join(SERVER, file), 'utf8').includes(name)).sort();
    expect(users('ALLOW_EVERYTHING')).toEqual(['security/dial.ts']);
    expect(users('createDial(')).toEqual(['app.ts', 'archive-command.ts', 'store-adopt.ts']);
    expect(users('createDial(createConnectPolicy(')).toEqual(['app.ts', 'archive-command.ts', 'store-adopt.ts']);
    expect(users('createPermit(')).toEqual(['app.ts', 'security/dial.ts']);
    expect(users('createPermit(createConnectPolicy(')).toEqual(['app.ts']);
    // On the threads, which ask for what the main one permits.
    expect(users('createPermittedDial')).toEqual(['data-thread.ts', 'security/dial.ts']);
  });

  it.each([
    "import { connect } from 'node:net';", "import net from 'node:net';", "import * as tls from 'node:tls';", "import { request as ask } from 'node:https';", "import { Redis } from 'ioredis';", "export * from 'node:dgram';",
    "const { get } = await import('node:http');", 'const net = await import(name);', "import { Agent } from 'undici';", "import { createRemoteJWKSet } from 'jose';", "const net = require('node:net');",
    "process.getBuiltinModule('node:net');", "process.binding('tcp_wrap');", 'await fetch(url);', 'const ask = fetch;', 'globalThis.fetch(url);', 'new WebSocket(url);', 'new EventSource(url);',
  ])('would be found in %s', (text) => {
    expect(waysOut('x.ts', text)).toHaveLength(1);
    expect(waysOut('x.ts', `// ${text}\nconst help = ${JSON.stringify(text)};`)).toEqual([]);
  });

  it.each(["import { type Socket } from 'node:net';", "import type * as S3 from '@aws-sdk/client-s3';", 'const load = (fetch: Load) => fetch(1);', 'type T = WebSocket;', 'source.fetch(1);'])('is none in %s', (text) => {
    expect(waysOut('x.ts', text)).toEqual([]);
  });
});

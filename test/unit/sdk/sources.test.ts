import { readFileSync, readdirSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import * as operations from '../../../sdk/src/generated/operations.js';

const folder = fileURLToPath(new URL('../../../sdk/src/', import.meta.url));
const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));

describe('the SDK\'s sources', () => {
  it.each(sources)('%s imports nothing but its own files', (name) => {
    const text = readFileSync(join(folder, name), 'utf8');
    const specifiers = [...text.matchAll(/(?:from|import\()\s*(?:\/\*.*?\*\/\s*)*'([^']+)'/g)].map(([, specifier]) => specifier ?? '');
    expect(specifiers.filter((specifier) => !specifier.startsWith('./') && !specifier.startsWith('../'))).toEqual([]);
    for (const global of ['process.', 'Buffer.', 'require(', '__dirname']) expect(text).not.toContain(global);
    expect(builtinModules.filter((module) => specifiers.includes(module))).toEqual([]);
  });

  it('mark every generated document as free of side effects', () => {
    const text = sources.filter((name) => name.endsWith('.documents.ts')).map((name) => readFileSync(join(folder, name), 'utf8')).join('');
    const made = text.match(/new TypedDocumentString\(/g) ?? [];
    expect(made.length).toBe(Object.keys(operations).length);
    expect(text.match(/\/\*#__PURE__\*\/ new TypedDocumentString\(/g)).toHaveLength(made.length);
  });

  it('leave enums open for values that come later', () => {
    const text = readFileSync(join(folder, 'generated/operations.ts'), 'utf8');
    expect(text).not.toContain('future added value');
    expect(text.match(/\| \(string & \{\}\);/g)?.length).toBeGreaterThan(20);
  });
});

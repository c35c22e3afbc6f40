import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { readSnippets, writeSnippet } from '../../integration/sdk/readme-snippets.js';

const repository = fileURLToPath(new URL('../../../', import.meta.url));

describe('the TypeScript snippets of the READMEs', () => {
  it('have names of their own', () => {
    const names = readSnippets().map(({ name }) => name);
    expect(names.length).toBeGreaterThanOrEqual(8);
    expect(new Set(names).size).toBe(names.length);
  });

  it('hold what the compiler demands', () => {
    mkdirSync(join(repository, '.cache'), { recursive: true });
    const folder = mkdtempSync(join(repository, '.cache/readme-types-'));
    try {
      const files = [...readSnippets(), ...readSnippets('README.md')].map((snippet) => writeSnippet(snippet, folder));
      const program = ts.createProgram(files, {
        target: ts.ScriptTarget.ES2022, lib: ['lib.es2023.d.ts'], module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
        types: ['node'], strict: true, noUncheckedIndexedAccess: true, skipLibCheck: true, noEmit: true,
      });
      const faults = ts.getPreEmitDiagnostics(program).map(({ file, messageText }) =>
        `${basename(file?.fileName ?? '')}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
      expect(faults).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

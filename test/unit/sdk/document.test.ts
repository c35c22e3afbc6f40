import { describe, expect, it } from 'vitest';
import { operationHead } from '../../../sdk/src/document.js';
import * as operations from '../../../sdk/src/generated/operations.js';

describe('the head of a document', () => {
  it.each([
    ['{ viewer { keyId } }', { kind: 'query', name: undefined }],
    ['query { viewer { keyId } }', { kind: 'query', name: undefined }],
    ['query Who { viewer { keyId } }', { kind: 'query', name: 'Who' }],
    ['mutation Go($input: X!) { cancelJob(input: $input) { job { id } } }', { kind: 'mutation', name: 'Go' }],
    ['fragment F on Job { id } mutation Go { x }', { kind: 'mutation', name: 'Go' }],
    ['# mutation Wrong { x }\nsubscription Right { x }', { kind: 'subscription', name: 'Right' }],
    ['"mutation in a description" query Q { x }', { kind: 'query', name: 'Q' }],
    ['query Q { mutation { subscription } }', { kind: 'query', name: 'Q' }],
    ['query Q($a: String = "} mutation M {") { x(a: $a) }', { kind: 'query', name: 'Q' }],
    ['fragment mutation on Job { id } query Q { x }', { kind: 'query', name: 'Q' }],
    ['fragment F on Job @mutation { id } query Q { x }', { kind: 'query', name: 'Q' }],
  ])('%s', (text, expected) => {
    expect(operationHead(text)).toEqual(expected);
  });

  it('is right for every generated document', () => {
    for (const [name, value] of Object.entries(operations)) {
      if (!name.endsWith('Document')) continue;
      expect(operationHead(value.toString()).name, name).toBe(name.slice(0, -'Document'.length));
    }
  });
});

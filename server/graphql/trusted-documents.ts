import { readFile } from 'node:fs/promises';
import { type GraphQLSchema } from 'graphql';
import { DomainError } from '../domain/errors.js';
import { sha256 } from './documents.js';
import { SDK_DOCUMENTS } from './generated/sdk-documents.js';
import { makeGuard } from './guard.js';

const HASH = /^[0-9a-f]{64}$/i;

const wrong = (path: string, problem: string, cause?: unknown): DomainError =>
  new DomainError('BAD_INPUT', `The trusted documents in ${path} cannot be used: ${problem}.`, { hint: 'TRUSTED_DOCUMENTS takes a JSON file: a list of documents, or an object of documents by name or SHA-256.', cause });

/** @returns the documents of a file with what they are called in it */
const documentsIn = (path: string, content: string): [name: string, text: string][] => {
  let parsed: unknown;
  try {
    parsed = JSON.parse(content);
  } catch (cause) {
    throw wrong(path, 'it is no JSON', cause);
  }
  if (typeof parsed !== 'object' || parsed === null) throw wrong(path, 'it holds neither a list nor an object');
  return Object.entries(parsed).map(([name, text]: [string, unknown]) => {
    if (typeof text !== 'string') throw wrong(path, `"${name}" is no text`);
    if (HASH.test(name) && sha256(text) !== name.toLowerCase()) throw wrong(path, `the text of "${name}" has another SHA-256`);
    return [name, text];
  });
};

/**
 * The documents that are registered before the start: those of the SDK, and the operator's own.
 * @param path of the operator's file, null where there is none; every document in it has to fit the schema and its limits
 */
export const trustedDocuments = async (schema: GraphQLSchema, path: string | null): Promise<string[]> => {
  if (path === null) return [...SDK_DOCUMENTS];
  const content = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw wrong(path, 'it cannot be read', cause);
  });
  const own = documentsIn(path, content);
  const guard = makeGuard({ schema, authenticate: () => Promise.resolve(undefined) });
  for (const [name, text] of own) {
    const parsed = guard.parse(text);
    if ('errors' in parsed) throw wrong(path, `"${name}" is refused: ${parsed.errors[0]?.message ?? ''}`);
  }
  return [...SDK_DOCUMENTS, ...own.map(([, text]) => text)];
};

import { createHash } from 'node:crypto';
import { GraphQLError } from 'graphql';
import { DomainError } from '../domain/errors.js';
import { type Principal } from '../domain/principal.js';

/** The part of a request that says which document it means: its text, its SHA-256 in `extensions.persistedQuery`, or both. */
export interface NamedDocument {
  query?: unknown;
  extensions?: unknown;
}

/** Which documents may be sent, and how they can be named instead of sent. */
export interface Documents {
  /**
   * The text that a request means; undefined when it names none.
   * @throws DomainError BAD_INPUT for a hash that is none or another text's, PERSISTED_QUERY_NOT_FOUND for one that is not known (any more)
   */
  textOf(caller: Principal, named: NamedDocument): string | undefined;
  /** After the text has passed: from now on the caller's project may name it by the hash that came with it. */
  keep(caller: Principal, named: NamedDocument, text: string): void;
  /** An error where this text may not be executed. */
  refuse(text: string): GraphQLError | undefined;
}

/** Texts that were sent with their hash are kept for their project: no other learns by a hash what somebody asks for, or puts out what somebody keeps. */
const MOST_PROJECTS = 100;
const MOST_OF_PROJECT = 200;
/** Characters of all texts of a project. */
const MOST_LENGTH = 1_000_000;

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The hash that a request gives, in the form that Apollo's clients and others send; undefined where it gives none. */
const hashOf = (extensions: unknown): string | undefined => {
  if (typeof extensions !== 'object' || extensions === null || !('persistedQuery' in extensions)) return undefined;
  const named = extensions.persistedQuery;
  if (named === null || named === undefined) return undefined;
  const { version, sha256Hash: hash } = named as { version?: unknown; sha256Hash?: unknown };
  if (version !== 1 || typeof hash !== 'string' || !/^[0-9a-f]{64}$/i.test(hash)) {
    throw new DomainError('BAD_INPUT', '"extensions.persistedQuery" must have version 1 and a "sha256Hash" of 64 hexadecimal digits.');
  }
  return hash.toLowerCase();
};

/** Texts by their hash, those of longest ago put out first. */
class Kept {
  private readonly texts = new Map<string, string>();
  private length = 0;

  get(hash: string): string | undefined {
    const text = this.texts.get(hash);
    if (text === undefined) return undefined;
    this.texts.delete(hash);
    this.texts.set(hash, text);
    return text;
  }

  put(hash: string, text: string): void {
    if (this.get(hash) !== undefined) return;
    this.texts.set(hash, text);
    this.length += text.length;
    for (const [oldest, old] of this.texts) {
      if (this.texts.size <= MOST_OF_PROJECT && this.length <= MOST_LENGTH) break;
      this.texts.delete(oldest);
      this.length -= old.length;
    }
  }
}

/**
 * @param trusted texts that were registered before the start: anybody may name them by their hash
 * @param only whether nothing else may be executed
 */
export const createDocuments = ({ trusted, only }: { trusted: readonly string[]; only: boolean }): Documents => {
  const registered = new Map(trusted.map((text) => [sha256(text), text]));
  const texts = new Set(trusted);
  const projects = new Map<string, Kept>();

  const keptOf = (projectId: string): Kept => {
    const kept = projects.get(projectId) ?? new Kept();
    // In the order of their use, so that the first is the one to forget.
    projects.delete(projectId);
    projects.set(projectId, kept);
    if (projects.size > MOST_PROJECTS) for (const first of projects.keys()) { projects.delete(first); break; }
    return kept;
  };
  const untrusted = {
    message: 'This service executes the documents of its SDK and those its operator has registered, and this is none of them.',
    hint: 'Send the text of a registered document exactly as it is registered, or its SHA-256.',
  };

  return {
    textOf({ projectId }, { query, extensions }) {
      const hash = hashOf(extensions);
      // graphql-ws demands a text in every message: an empty one beside a hash is none.
      if (typeof query === 'string' && (query !== '' || hash === undefined)) {
        if (hash !== undefined && sha256(query) !== hash) throw new DomainError('BAD_INPUT', 'The document\'s SHA-256 is another than "sha256Hash" says.');
        return query;
      }
      if (hash === undefined) return undefined;
      const text = registered.get(hash) ?? (only ? undefined : projects.get(projectId)?.get(hash));
      if (text !== undefined) return text;
      if (only) throw new DomainError('DOCUMENT_NOT_TRUSTED', untrusted.message, { hint: untrusted.hint });
      // These words are what clients look for.
      throw new DomainError('PERSISTED_QUERY_NOT_FOUND', 'PersistedQueryNotFound', { hint: 'Send the document together with its hash once.', retryable: true });
    },

    keep({ projectId }, { query, extensions }, text) {
      const hash = typeof query === 'string' && query !== '' && !only ? hashOf(extensions) : undefined;
      if (hash !== undefined && !registered.has(hash)) keptOf(projectId).put(hash, text);
    },

    refuse: (text) => (only && !texts.has(text) ? new GraphQLError(untrusted.message, { extensions: { code: 'DOCUMENT_NOT_TRUSTED', hint: untrusted.hint } }) : undefined),
  };
};

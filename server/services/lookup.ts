import { DomainError } from '../domain/errors.js';
import { type IdKind, isId } from '../domain/ids.js';

const SHOWN = 40;

/** An id of the caller's for a message; what is none can be of any length. */
export const shownId = (id: string): string => (id.length <= SHOWN ? id : `${id.slice(0, SHOWN)}…`);

/** Looks something up by an id of the caller's. What has not the shape of such an id stands for nothing: databases refuse some characters. */
export const lookUp = async <T>(kind: IdKind, id: string, get: (id: string) => Promise<T | null>): Promise<T | null> => (isId(kind, id) ? get(id) : null);

/** A filter as callers give it, unchanged; BAD_INPUT for a text with NUL, which no database takes. */
export const checkFilter = <Filter extends object>(filter: Filter): Filter => {
  for (const [name, value] of Object.entries(filter)) {
    const texts: unknown[] = Array.isArray(value) ? value : [value];
    if (texts.some((text) => typeof text === 'string' && text.includes('\0'))) {
      throw new DomainError('BAD_INPUT', `"filter.${name}" must not contain a NUL character.`, { field: ['filter', name] });
    }
  }
  return filter;
};

import { DomainError } from '../domain/errors.js';

export const MAX_NAME_LENGTH = 128;

/** Control characters, and halves of surrogate pairs, which no database stores. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u2028\u2029]/u;

/** A name as a person gives it: 1 to 128 characters of any script, shown as given. Returned unchanged. */
export const checkName = (name: string, field = 'name'): string => {
  const length = [...name].length;
  if (length < 1 || length > MAX_NAME_LENGTH || name.trim() === '') {
    throw new DomainError('BAD_INPUT', `A name has 1 to ${MAX_NAME_LENGTH} characters, not only blanks; this one has ${length}.`, { field: [field] });
  }
  if (UNPRINTABLE.test(name)) {
    throw new DomainError('BAD_INPUT', 'A name must not contain control characters or broken surrogate pairs.', { field: [field] });
  }
  return name;
};

/** A text that is no name, such as a host or a user name. */
export const checkText = (text: string, field: readonly string[], { max, blanks = true }: { max: number; blanks?: boolean }): string => {
  if (text.length < 1 || text.length > max) {
    throw new DomainError('BAD_INPUT', `"${field.join('.')}" has 1 to ${max} characters.`, { field });
  }
  if (UNPRINTABLE.test(text) || (!blanks && /\s/.test(text))) {
    throw new DomainError('BAD_INPUT', `"${field.join('.')}" contains characters that are not allowed there.`, { field });
  }
  return text;
};

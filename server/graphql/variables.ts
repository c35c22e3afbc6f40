import { DomainError } from '../domain/errors.js';

/** More than any input of this API has. */
const MOST_DEEP = 16;
const MOST_VALUES = 2_000;

/**
 * Refuses variables that no input needs, before anything walks them: graphql-js coerces every item of a list and would collect what is wrong with
 * each. @throws DomainError LIMIT_EXCEEDED
 */
export const checkVariables = (variables: unknown): void => {
  let values = 0;
  const look = (value: unknown, depth: number): void => {
    values += 1;
    if (depth > MOST_DEEP) throw new DomainError('LIMIT_EXCEEDED', `The variables are nested more than ${MOST_DEEP} deep.`);
    if (values > MOST_VALUES) throw new DomainError('LIMIT_EXCEEDED', `The variables hold more than ${MOST_VALUES} values.`, { hint: 'Split the request.' });
    if (typeof value !== 'object' || value === null) return;
    for (const inner of Object.values(value)) look(inner, depth + 1);
  };
  look(variables, 0);
};

import { GraphQLError } from 'graphql';
import { describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { maskError } from '../../../server/graphql/mask.js';

const within = (original: Error, path: string[] = ['field']): GraphQLError => new GraphQLError(original.message, { originalError: original, path });

describe('masking', () => {
  it('lets domain errors through, however deep they are wrapped, without their details', () => {
    const cause = new DomainError('CONFLICT', 'It is removed.', { hint: 'Register it anew.', details: { secret: 'x' }, cause: new Error('y') });
    expect(maskError(within(within(cause)), 'r1')).toEqual({ message: 'It is removed.', path: ['field'], extensions: { code: 'CONFLICT', hint: 'Register it anew.', requestId: 'r1' } });
  });

  it.each([
    ['an unknown error', within(new Error('password=hunter2'))],
    ['an unknown error outside of GraphQL', new TypeError('password=hunter2')],
    ['something thrown that is no error', 'password=hunter2'],
    ['a scalar that cannot be written', within(new GraphQLError('Int cannot represent non-integer value: hunter2'))],
    ['a code that is not ours', new GraphQLError('hunter2', { extensions: { code: 'SOMETHING' } })],
  ])('hides %s', (_what, error) => {
    const masked = maskError(error, 'r1');
    expect([masked.message, masked.extensions]).toEqual(['Internal error', { code: 'INTERNAL', requestId: 'r1' }]);
    expect(JSON.stringify(masked)).not.toContain('hunter2');
  });

  it('drops what libraries hang on errors', () => {
    const error = new GraphQLError('Argument Validation Error', {
      extensions: { code: 'BAD_USER_INPUT', validationErrors: [{ target: { password: 'hunter2' }, value: 'hunter2' }], stacktrace: ['at x'] },
    });
    expect(maskError(error, 'r1')).toEqual({ message: 'Argument Validation Error', extensions: { code: 'BAD_INPUT', requestId: 'r1' } });
  });
});

it('tells of a fault that passes that the call may be repeated, and nothing else about it', () => {
  const lost = new Error('Connection terminated unexpectedly at 10.0.0.1');
  const masked = maskError(new GraphQLError('x', { originalError: lost }), 'r1', { faultPasses: (cause) => cause === lost });
  expect(masked).toMatchObject({ extensions: { code: 'INTERNAL', retryable: true, requestId: 'r1' } });
  expect(JSON.stringify(masked)).not.toContain('10.0.0.1');
  expect(maskError(lost, 'r1')).toEqual({ message: 'Internal error', extensions: { code: 'INTERNAL', requestId: 'r1' } });
});

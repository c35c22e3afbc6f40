import { describe, expect, it } from 'vitest';
import { isSnapbackError, JobFailedError, SnapbackError, UserInputError } from '../../../sdk/src/errors.js';
import { graphqlError } from '../../../sdk/src/graphql-errors.js';
import { type JobFragment } from '../../../sdk/src/generated/operations.js';

describe('isSnapbackError', () => {
  it('knows errors of another copy of the package by their mark', () => {
    const foreign = new Error('from another copy');
    Object.defineProperty(foreign, Symbol.for('@snapback/sdk.error'), { value: true });
    expect(isSnapbackError(foreign)).toBe(true);
    expect(isSnapbackError(new SnapbackError('network', 'NETWORK', 'x'))).toBe(true);
    expect(isSnapbackError(new JobFailedError({ id: 'job_1', kind: 'BACKUP', conclusion: 'CANCELLED', failure: null } as JobFragment))).toBe(true);
    for (const other of [new Error('x'), null, undefined, 'x', {}]) expect(isSnapbackError(other)).toBe(false);
  });
});

describe('UserInputError', () => {
  it('names every field at fault and takes the first code', () => {
    const error = new UserInputError('setBackupPolicy', [
      { code: 'BAD_INPUT', message: 'At least one weekday.', field: ['weekdays'] },
      { code: 'CONFLICT', message: 'The instance is gone.', field: null },
    ]);
    expect(error).toMatchObject({ kind: 'user_input', code: 'BAD_INPUT', retryable: false });
    expect(error.message).toBe('setBackupPolicy was refused: weekdays: At least one weekday. The instance is gone.');
  });

  it('says that a busy instance may be free later', () => {
    const error = new UserInputError('backupNow', [{ code: 'INSTANCE_BUSY', message: 'Busy.', field: null }], 'job_9');
    expect(error).toMatchObject({ retryable: true, jobId: 'job_9' });
  });
});

describe('JobFailedError', () => {
  it('carries code, hint and job of the failure', () => {
    const failure = { code: 'TRUNCATED', message: 'Ended at byte 7.', hint: 'Try again.', retryable: true, phase: 'TRANSFERRING', at: '' };
    const error = new JobFailedError({ id: 'job_1', kind: 'BACKUP', conclusion: 'FAILED', failure } as JobFragment);
    expect(error).toMatchObject({ kind: 'job_failed', code: 'TRUNCATED', hint: 'Try again.', retryable: true, jobId: 'job_1' });
    expect(error.message).toContain('Ended at byte 7.');
  });

  it('says how long to wait where the failure says until when', () => {
    const failedWith = (retryAt: string | null) => new JobFailedError({
      id: 'job_1', kind: 'BACKUP', conclusion: 'FAILED', failure: { code: 'RATE_LIMITED', message: 'Spared.', hint: null, retryable: true, retryAt, phase: 'PREPARING', at: '' },
    } as JobFragment);
    const { retryAfterMs } = failedWith(new Date(Date.now() + 60_000).toISOString());
    expect(retryAfterMs).toBeGreaterThan(50_000);
    expect(retryAfterMs).toBeLessThanOrEqual(60_000);
    expect(failedWith(new Date(0).toISOString()).retryAfterMs).toBe(0);
    expect(failedWith(null).retryAfterMs).toBeUndefined();
  });

  it('takes the conclusion as code where there is no failure', () => {
    expect(new JobFailedError({ id: 'job_1', kind: 'BACKUP', conclusion: 'CANCELLED', failure: null } as JobFragment).code).toBe('CANCELLED');
  });
});

describe('a GraphQL error', () => {
  it.each([
    'Variable "$input" got invalid value { password: "s3cret" }; Field "x" is not defined by type "RegisterInstanceInput".',
    'Variable "$input" got invalid value "s3cret" at "input.tls.ca"; String cannot represent a non string value: "s3cret"',
  ])('never repeats a value: %s', (message) => {
    const error = graphqlError('RegisterInstance', [{ message, extensions: { code: 'BAD_INPUT' } }]);
    expect(error.message).not.toContain('s3cret');
    expect(error.message).toContain('"$input" does not fit its type');
  });

  it('names the place of the value that does not fit', () => {
    const error = graphqlError('X', [{ message: 'Variable "$input" got invalid value 7 at "input.name"; String cannot represent 7' }]);
    expect(error.message).toBe('X failed: The variable "$input" does not fit its type at "input.name".');
  });

  it('keeps an unknown code and survives an empty error', () => {
    expect(graphqlError('X', [{ message: 'm', extensions: { code: 'BRAND_NEW' } }])).toMatchObject({ code: 'BRAND_NEW', retryable: false });
    expect(graphqlError('X', [])).toMatchObject({ kind: 'graphql', code: 'INTERNAL' });
  });
});

import { isSnapbackError, type Job } from '@snapback/sdk';

interface Said {
  message: string;
  code?: string | undefined;
  hint?: string | undefined;
  requestId?: string | undefined;
}

/** What the SDK puts in front for logs, `BackupNow failed: `, is not for somebody who reads a page. */
const forPeople = (message: string): string => message.replace(/^[A-Za-z]\w* (?:failed|was refused): /, '');

const read = (error: unknown): Said => {
  if (!isSnapbackError(error)) return { message: error instanceof Error ? error.message : String(error) };
  const { code, hint, requestId, userErrors, message } = error;
  return { message: userErrors.length > 0 ? userErrors.map((each) => each.message).join(' ') : forPeople(message), code, hint, requestId };
};

/** The error's messages for one field of an input, and those that are about no field of the form. */
export const fieldErrors = (error: unknown, fields: readonly string[]): { of(field: string): string | undefined; rest: unknown } => {
  const userErrors = isSnapbackError(error) ? error.userErrors : [];
  const known = (field: readonly string[] | null): boolean => field !== null && fields.includes(field[0] ?? '');
  return {
    of: (field) => userErrors.find((each) => each.field?.[0] === field)?.message,
    rest: userErrors.length > 0 && userErrors.every((each) => known(each.field)) ? undefined : error,
  };
};

const Notice = ({ message, code, hint, requestId, onRetry }: Said & { onRetry?: (() => void) | undefined }) => (
  <div className="problem" role="alert">
    <p>{message}{code !== undefined && <> <code className="code">{code}</code></>}</p>
    {hint !== undefined && <p className="hint">{hint}</p>}
    {requestId !== undefined && <p className="hint">Request <code>{requestId}</code></p>}
    {onRetry !== undefined && <button type="button" className="small" onClick={onRetry}>Try again</button>}
  </div>
);

/** What went wrong: the message, its code, and what to do about it. Nothing for no error. */
export const Problem = ({ error, onRetry }: { error: unknown; onRetry?: () => void }) => (error == null ? null : <Notice {...read(error)} onRetry={onRetry} />);

export const JobProblem = ({ job: { failure } }: { job: Pick<Job, 'failure'> }) =>
  failure === null ? null : (
    <div className="job-problem">
      <p>{failure.message} <code className="code">{failure.code}</code></p>
      {failure.hint !== null && <p className="hint">{failure.hint}</p>}
    </div>
  );

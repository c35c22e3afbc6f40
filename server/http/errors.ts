import { type NextFunction, type Request, type Response } from 'express';
import { DomainError, type ErrorCode } from '../domain/errors.js';
import { type Guard } from '../graphql/guard.js';
import { type EdgeLog, type FaultPasses, HTTP_STATUS, logFaults, maskError } from '../graphql/mask.js';

/** Every answer that is an error has the shape of a GraphQL error, whatever the path, so that clients have one thing to read. */
export const sendError = (res: Response, status: number, code: ErrorCode, message: string, hint?: string): void => {
  res.status(status).json({ errors: [{ message, extensions: { code, ...(hint !== undefined && { hint }), requestId: requestIdOf(res) } }] });
};

/** What is wrong with a GraphQL request as a whole: the first error says the status. */
export const sendErrors = (res: Response, guard: Pick<Guard, 'mask'>, errors: readonly unknown[]): void => {
  const masked = errors.map((error) => guard.mask(error, requestIdOf(res)));
  const [{ code, retryAfterMs } = { code: 'INTERNAL' as const }] = masked.map(({ extensions }) => extensions);
  if (retryAfterMs !== undefined) res.setHeader('retry-after', Math.ceil(retryAfterMs / 1000));
  res.status(HTTP_STATUS[code] ?? 400).json({ errors: masked });
};

export const requestIdOf = (res: Response): string => String(res.getHeader('x-request-id') ?? '');

/** What body-parser and express throw: an error with an HTTP status and a `type`. */
const httpFault = (error: unknown): { status: number; type: string } | undefined => {
  if (!(error instanceof Error) || error instanceof DomainError) return undefined;
  const status = 'status' in error ? error.status : undefined;
  const type = 'type' in error ? error.type : undefined;
  return typeof status === 'number' && status >= 400 && status < 500 ? { status, type: typeof type === 'string' ? type : '' } : undefined;
};

const FAULTS: Readonly<Record<string, [ErrorCode, string]>> = {
  'entity.too.large': ['LIMIT_EXCEEDED', 'The request body is larger than this service takes.'],
  'entity.parse.failed': ['BAD_INPUT', 'The request body is not valid JSON.'],
  'charset.unsupported': ['BAD_INPUT', 'The request body has a character set other than UTF-8.'],
  'encoding.unsupported': ['BAD_INPUT', 'The request body has an unknown content encoding.'],
};

/** What express throws when a client has left in the middle of a file: nobody is at fault, and nobody is there to be told. */
const hasLeft = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ECONNABORTED' && !('status' in error);

/** Last in the chain. Once an answer has begun, the connection is cut instead, so that nobody takes a part for the whole. */
export const errorHandler = (log: EdgeLog, faultPasses?: FaultPasses) => (error: unknown, req: Request, res: Response, _next: NextFunction): void => {
  if (hasLeft(error)) {
    res.destroy();
    return;
  }
  const fault = httpFault(error);
  if (!fault) logFaults(log, [error], requestIdOf(res), { method: req.method, route: req.path });
  if (res.headersSent) {
    res.destroy();
    return;
  }
  if (fault) {
    const [code, message] = FAULTS[fault.type] ?? ['BAD_INPUT', 'The request is malformed.'];
    sendError(res, fault.status, code, message);
    return;
  }
  const { message, extensions } = maskError(error, undefined, { faultPasses });
  const status = HTTP_STATUS[extensions.code] ?? (extensions.code === 'BAD_INPUT' ? 400 : extensions.retryable ? 503 : 500);
  if (status === 401) res.setHeader('www-authenticate', 'Bearer');
  sendError(res, status, extensions.code, message, extensions.hint);
};

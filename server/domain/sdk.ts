import { DomainError } from './errors.js';

/**
 * Major versions of `@snapback/sdk` whose operations this service answers. A major is added here before the SDK that needs it is released, and
 * goes no earlier than the deprecations that it stands for.
 */
export const SDK_MAJORS: readonly number[] = [0];

const VERSION = /^(\d{1,6})\.\d{1,6}\.\d{1,6}(?:[-+][\w.+-]{1,64})?$/;

/**
 * Refuses an SDK of a major that this service does not know. Other clients do not say a version, and what is no version is none of an SDK's.
 * @throws DomainError SDK_UNSUPPORTED
 */
export const checkSdk = (version: unknown): void => {
  const [, major] = (typeof version === 'string' && VERSION.exec(version)) || [];
  if (major === undefined || SDK_MAJORS.includes(Number(major))) return;
  throw new DomainError('SDK_UNSUPPORTED', `This service does not speak with version ${major} of @snapback/sdk.`, {
    hint: `Use @snapback/sdk of version ${SDK_MAJORS.join(' or ')}.`,
  });
};

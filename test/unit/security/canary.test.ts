import { describe, expect, it } from 'vitest';
import { createCanary } from '../../kit/canary.js';

const SECRET = 'canary/4f+1b "quoted" ümlaut';

describe('the canary of the tests', () => {
  const bytes = Buffer.from(SECRET);
  it.each([
    ['as it is', SECRET], ['in a URL', encodeURIComponent(SECRET)], ['in JSON', JSON.stringify({ secret: SECRET })], ['in hexadecimal', bytes.toString('hex')],
    ['in base64, with more behind', Buffer.concat([bytes, Buffer.from('more')]).toString('base64')], ['in base64url', bytes.toString('base64url')],
  ])('sees a secret %s, and does not say it', (_what, text) => {
    const canary = createCanary();
    canary.hide(SECRET);
    canary.check('a service', { log: 'nothing', database: 'hidden' });
    const seen = (): void => canary.check('a service', { log: 'nothing', database: `before ${text} behind` });
    expect(seen).toThrow('a service, database: …before');
    expect(seen).toThrow(expect.not.objectContaining({ message: expect.stringContaining(text) as string }) as Error);
    // Told once.
    canary.check('a service', { log: 'nothing' });
    canary.answered(text);
    expect(() => canary.check('a service', {})).toThrow('an answer');
  });

  it('knows which settings are secrets, and what in an address is', () => {
    const canary = createCanary();
    canary.hideSettings({
      MASTER_KEY: `${'ab'.repeat(32)}, ${'cd'.repeat(32)}`, WEBHOOK_SECRET: 'sixteen-letters!', DATABASE_URL: 'postgresql://user:pass%20word-1@db/x', WEBHOOK_URL: 'https://hooks.example.com/T0123456789abcdef?token=of-the-hook', PUBLIC_URL: 'https://public.example.com',
    });
    for (const text of ['ab'.repeat(32), 'cd'.repeat(32), 'sixteen-letters!', 'pass word-1', 'T0123456789abcdef', 'of-the-hook']) expect(() => canary.check('x', { text }), text).toThrow('Secrets were found');
    canary.check('x', { text: 'https://public.example.com hooks.example.com user' });
  });
});

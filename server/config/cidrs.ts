import { isIP } from 'node:net';
import { type SettingsReader } from './reader.js';

/** Ranges (`10.0.0.0/8`) and single addresses, comma-separated, without scopes. */
export const cidrs = (settings: SettingsReader, name: string): string[] => {
  const items = settings.list(name);
  const wrong = items.filter((item) => {
    const [address = '', prefix, ...rest] = item.split('/');
    const family = isIP(address);
    if (family === 0 || address.includes('%') || rest.length > 0) return true;
    return prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
  });
  if (wrong.length === 0) return items;
  return settings.wrong(name, `takes addresses and ranges such as "10.0.0.0/8", not "${wrong.join(', ')}"`, []);
};

import { isIP } from 'node:net';
import { type SettingsReader } from './reader.js';

/** A name or an address: without scheme, port, brackets or blanks. */
export const hostName = (settings: SettingsReader, name: string): string | undefined => {
  const value = settings.text(name);
  if (value === undefined || isIP(value) !== 0 || /^[\p{L}\p{N}_.-]+$/u.test(value)) return value;
  return settings.wrong(name, 'must be a host name or an address, without scheme and port', undefined);
};

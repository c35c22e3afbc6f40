const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/**
 * Name of a module data type from the upper 54 of its id's 64 bits: nine characters of six bits. The lower ten bits are
 * the version of the module's encoding and are left out.
 */
export function moduleName(high: number, low: number): string {
  const id = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  let name = '';
  for (let shift = 58n; shift >= 10n; shift -= 6n) name += ALPHABET.charAt(Number((id >> shift) & 63n));
  return name;
}

/** The name of a key as text. Names are bytes, and those of no text are shown escaped. */
export interface KeyName {
  /** A text as it is. Otherwise printable ASCII as it is, `\` doubled, every other byte as `\xNN`. */
  name: string;
  /** Whether it is no text: not UTF-8, or with control characters. */
  binary: boolean;
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const CONTROL = /\p{Cc}/u;

const asText = (bytes: Uint8Array): string | null => {
  try {
    const text = UTF8.decode(bytes);
    return CONTROL.test(text) ? null : text;
  } catch {
    return null;
  }
};

const escaped = (bytes: Uint8Array): string => {
  let text = '';
  for (const byte of bytes) {
    if (byte === 0x5c) text += '\\\\';
    else if (byte >= 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else text += `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return text;
};

/** Bytes of a character that begins with `lead`; 1 for what begins none. */
const widthOf = (lead: number): number => (lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1);

/** Without the character that the end of the bytes has cut, if any. */
const withoutCutCharacter = (bytes: Uint8Array): Uint8Array => {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const at = bytes.length - back;
    const byte = bytes[at] as number;
    if ((byte & 0xc0) !== 0x80) return widthOf(byte) > back ? bytes.subarray(0, at) : bytes;
  }
  return bytes;
};

/** @param whole false: only the beginning of a name, which may end within a character */
export const keyName = (bytes: Uint8Array, whole = true): KeyName => {
  const text = asText(whole ? bytes : withoutCutCharacter(bytes));
  return text === null ? { name: escaped(bytes), binary: true } : { name: text, binary: false };
};

/** Takes apart commands as they are sent. For what has gone wrong, and so is rare. */
export interface SentCommand {
  args: Buffer[];
  /** Where it begins and ends in the bytes. */
  from: number;
  to: number;
}

export const commandsIn = (bytes: Buffer): SentCommand[] => {
  const commands: SentCommand[] = [];
  let at = 0;
  const number = (): number => {
    const end = bytes.indexOf(0x0a, at);
    const value = Number(bytes.toString('latin1', at + 1, end - 1));
    at = end + 1;
    return value;
  };
  while (at < bytes.length) {
    const from = at;
    const args: Buffer[] = [];
    for (let left = number(); left > 0; left--) {
      const length = number();
      args.push(bytes.subarray(at, at + length));
      at += length + 2;
    }
    commands.push({ args, from, to: at });
  }
  return commands;
};

const nameOf = ({ args }: SentCommand): string => args[0]?.toString('latin1').toUpperCase() ?? '';

/** The key that a unit makes. */
export const keyIn = (bytes: Buffer): Buffer => {
  const commands = commandsIn(bytes).filter((command) => !['ASKING', 'MULTI'].includes(nameOf(command)));
  // In a group that makes the key under a name of ours, that comes at its end.
  const renamed = commands.find((command) => nameOf(command) === 'RENAMENX');
  return renamed?.args[2] ?? commands[0]?.args[1] ?? Buffer.alloc(0);
};

const ASKING = Buffer.from('*1\r\n$6\r\nASKING\r\n');

/** The commands of a unit without any ASKING. */
export const withoutAsking = (bytes: Buffer): Buffer => {
  const commands = commandsIn(bytes);
  return Buffer.concat(commands.filter((command) => nameOf(command) !== 'ASKING').map(({ from, to }) => bytes.subarray(from, to)));
};

/** The same with an ASKING before every command, or, for a group, before the whole: inside of MULTI it holds on. */
export const withAsking = (bytes: Buffer): { bytes: Buffer; replies: number } => {
  const commands = commandsIn(bytes);
  if (commands[0] !== undefined && nameOf(commands[0]) === 'MULTI') return { bytes: Buffer.concat([ASKING, bytes]), replies: commands.length + 1 };
  return { bytes: Buffer.concat(commands.flatMap(({ from, to }) => [ASKING, bytes.subarray(from, to)])), replies: commands.length * 2 };
};

/** The replies that are left when those to ASKING are taken out. */
export const repliesWithoutAsking = <T>(replies: readonly T[], group: boolean): T[] => (group ? replies.slice(1) : replies.filter((_, at) => at % 2 === 1));

const MOST_SHOWN = 100;

const escaped = (byte: number): string =>
  byte >= 0x20 && byte < 0x7f && byte !== 0x5c && byte !== 0x22 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;

/** A key for people to read: bounded, on one line, with everything escaped that is no printable UTF-8. */
export const shownKey = (key: Uint8Array, wholeBytes = key.length): string => {
  const start = Buffer.from(key.subarray(0, MOST_SHOWN));
  const cut = wholeBytes > start.length;
  const text = start.toString('utf8');
  const readable = Buffer.from(text).equals(start) && !/[\p{C}\p{Zl}\p{Zp}\\"]/u.test(text);
  const shown = readable ? text : Array.from(start, escaped).join('');
  return cut ? `${shown}… (${wholeBytes} bytes)` : shown;
};

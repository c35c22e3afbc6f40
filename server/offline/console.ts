/** Where a command says what. */
export interface Console {
  /** The result; kept back while nobody takes it. */
  out(text: string | Uint8Array): Promise<void>;
  /** What is to be known besides, a line each. */
  err(line: string): void;
  /** How far it is; the last one stays. Shown to people only. */
  progress(text: string): void;
}

/** How a command ended. */
export const EXIT = {
  DONE: 0,
  /** An archive is damaged, or is not there. */
  DAMAGED: 1,
  /** Wrong arguments or settings. */
  USAGE: 2,
  /** Something stood in the way: the key, the store, the file to write. It says nothing about the archives. */
  PREVENTED: 3,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

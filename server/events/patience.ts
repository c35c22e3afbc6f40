/** A database that is away is asked again this often, and for this long, before a reader is told. */
const AGAIN_MS = 500;
const PATIENCE_MS = 30_000;

export type MayPass = (error: unknown) => boolean;

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, AGAIN_MS));

/**
 * Repeats a reading while the database is away for a moment. Rejects with a fault that does not pass by itself, or has not for 30 s.
 * @param isWanted asked before each repetition: where not, the fault is thrown
 */
export const patiently = async <T>(read: () => Promise<T>, mayPass: MayPass, isWanted: () => boolean): Promise<T> => {
  const began = performance.now();
  for (;;) {
    try {
      return await read();
    } catch (error) {
      if (!mayPass(error) || performance.now() - began > PATIENCE_MS || !isWanted()) throw error;
    }
    await pause();
  }
};

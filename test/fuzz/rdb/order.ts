/** What a run of the fuzzer is told, and tells at its end. */
export interface FuzzOrder {
  /** Folder of sound RDB files. */
  corpus: string;
  seed: number;
  /** When it ends: after so many inputs, or so long after the first of them began. */
  amount: { inputs: number } | { milliseconds: number };
  /** Number of the first input; they are pure functions of seed and number. */
  from: number;
  /** Where the number of the input under way stands, for whoever watches. */
  progressFile: string;
  /** Where an input goes that shows a fault. */
  faultFile: string;
}

export interface FuzzReport {
  inputs: number;
  /** Those that were read, and those that were refused, by code. */
  outcomes: Record<string, number>;
  /** Of processor time. */
  slowestMs: number;
  /** Resident memory: at the beginning, and the most there was. */
  rssMiB: number;
  peakRssMiB: number;
  fault: { input: number; from: string; problem: string } | null;
}

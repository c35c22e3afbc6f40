import { type TestProject } from 'vitest/node';
import { findChromium } from './chromium.mjs';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Path of the browser; null where none can be had. */
    chromium: string | null;
  }
}

/** Where there is no browser, its tests cannot be run: that is said where nobody can overlook it. */
export default async (project: TestProject): Promise<void> => {
  try {
    const { path, version } = await findChromium();
    console.log(`Browser: ${version}`);
    project.provide('chromium', path);
  } catch (error) {
    const line = '!'.repeat(100);
    console.error(`${line}\nTHE DASHBOARD WAS NOT TESTED: there is no Chromium.\n${error instanceof Error ? error.message : String(error)}\n${line}`);
    project.provide('chromium', null);
  }
};

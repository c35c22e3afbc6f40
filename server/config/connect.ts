import { cidrs } from './cidrs.js';
import { type SettingsReader } from './reader.js';

/** Which addresses this service may dial: `server/security/connect-policy.ts` says how the lists are weighed. */
export interface ConnectSettings {
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  /** Whether what runs on this machine is meant to be reached: the sample, or whatever somebody tries out. */
  readonly thisMachine: boolean;
}

export const connectSettings = (settings: SettingsReader, thisMachine: boolean): ConnectSettings =>
  ({ allow: cidrs(settings, 'CONNECT_ALLOW'), deny: cidrs(settings, 'CONNECT_DENY'), thisMachine });

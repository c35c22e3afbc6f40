import { Initial1764000000000 } from './1764000000000-initial.js';
import { Agenda1764000001000 } from './1764000001000-agenda.js';
import { Upkeep1795576936000 } from './1795576936000-upkeep.js';
import { Settling1795577890000 } from './1795577890000-settling.js';
import { Notices1795578470425 } from './1795578470425-notices.js';
import { UnfinishedBackups1795578900000 } from './1795578900000-unfinished-backups.js';
import { Slots1795581181716 } from './1795581181716-slots.js';
import { Verification1795581730599 } from './1795581730599-verification.js';
import { JobNotices1795612783282 } from './1795612783282-job-notices.js';
import { Source1795613523331 } from './1795613523331-source.js';
import { SyncDelay1795613714059 } from './1795613714059-sync-delay.js';
import { Inspections1795975200000 } from './1795975200000-inspections.js';
import { RestoreDetails1796000000000 } from './1796000000000-restore-details.js';
import { Keys1796000100000 } from './1796000100000-keys.js';
import { Audit1796000101000 } from './1796000101000-audit.js';
import { DownloadLinks1796000102000 } from './1796000102000-download-links.js';
import { LiveBackups1796000300000 } from './1796000300000-live-backups.js';

/** In their order. Forward only: expand, migrate, contract. */
export const MIGRATIONS = [
  Initial1764000000000, Agenda1764000001000, Upkeep1795576936000, Settling1795577890000, Notices1795578470425, UnfinishedBackups1795578900000,
  Slots1795581181716, Verification1795581730599, JobNotices1795612783282, Source1795613523331, SyncDelay1795613714059,
  Inspections1795975200000, RestoreDetails1796000000000, Keys1796000100000, Audit1796000101000,
  DownloadLinks1796000102000, LiveBackups1796000300000,
];

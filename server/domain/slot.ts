/** DUE: its instant has come, and it waits for its server. A slot ends STARTED, with one job, or MISSED, with a reason. */
export const SLOT_STATES = ['DUE', 'STARTED', 'MISSED'] as const;
export type SlotState = (typeof SLOT_STATES)[number];

/** What started a slot: the policy's own pending job of Agenda, or the recurring pass that finds what nobody was woken for. */
export const SLOT_STARTERS = ['AGENDA_JOB', 'NET'] as const;
export type SlotStarter = (typeof SLOT_STARTERS)[number];

export interface SchemaChange {
  kind: 'breaking' | 'dangerous' | 'addition' | 'deprecation' | 'wording';
  what: string;
}
export declare const nextVersion: (released: string, size: 'breaking' | 'addition' | 'wording' | 'none') => string;
export declare const judgeSchema: (
  sdl: { released: string; current: string }, versions: { released: string; current: string }, today: string,
) => { changes: SchemaChange[]; next: string; faults: string[] };
export declare const readReleased: (folder?: string) => { version: string; sdl: string };

export declare const judge: (output: string) => { ok: boolean; says: string };

export declare const findChromium: () => Promise<{ path: string; version: string }>;

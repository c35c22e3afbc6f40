import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package's own manifest, above both `server/` and `dist/server/`. */
const versionAbove = (folder: string): string => {
  try {
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name?: unknown; version?: unknown };
    if (manifest.name === 'snapback' && typeof manifest.version === 'string') return manifest.version;
  } catch (error) {
    if (dirname(folder) === folder) throw error;
  }
  if (dirname(folder) === folder) throw new Error('No package.json of snapback stands above this program.');
  return versionAbove(dirname(folder));
};

/** SemVer of this service. */
export const VERSION = versionAbove(dirname(fileURLToPath(import.meta.url)));

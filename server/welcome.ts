export interface Welcome {
  url: string;
  /** The admin key; only at the very first start. */
  key: string | undefined;
  keyFile: string;
  /** Whether it was built. */
  dashboard: boolean;
}

/** What a person reads after the start of a process that has no API. */
export const workerStarted = (url: string): string => `Snapback worker is running at ${url} (/healthz, /readyz, /metrics)\n`;

/** What a person reads after the start: where things are, and three things to try. */
export const nextSteps = ({ url, key, keyFile, dashboard }: Welcome): string => {
  const token = `$(cat '${keyFile.replaceAll("'", `'\\''`)}')`;
  return `
Snapback is running at ${url}
  Dashboard          ${dashboard ? `${url}/dashboard` : 'not built: run npm run build:dashboard'}
  GraphQL explorer   ${url}/
  API                ${url}/graphql
${key ? `\nAdmin key (shown once; also in ${keyFile}):\n  ${key}\n` : `\nThe admin key was written to ${keyFile} at the first start.\n`}
Three things to try:

1. Ask which servers are protected:
   curl -s ${url}/graphql -H 'Content-Type: application/json' \\
     -H "Authorization: Bearer ${token}" \\
     -d '{"query":"{ instances { nodes { id name server { engine version keys } latestBackup { name state } } } }"}'

2. Follow the work live: open ${url}/ , set the header Authorization to the key, and run
   subscription { jobEvents { kind job { kind state phase progress { bytesDone keysDone } } } }

3. Take a backup with the SDK:
   import { createClient } from '@snapback/sdk';
   const snapback = createClient({ url: '${url}', token: process.env.SNAPBACK_KEY });
   const [instance] = await snapback.instances.list().toArray({ limit: 1 });
   const { backup } = await snapback.backups.create({ instanceId: instance.id, name: 'first' });
   console.log(await snapback.backups.wait(backup.id));

`;
};

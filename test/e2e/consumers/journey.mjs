// What every consumer does with the package, whatever it was loaded by: read, back up and follow it, download and check. Gives what came of it.
export const journey = async ({ createClient, isSnapbackError, SDK_VERSION }, { url, token, webSocket, host, port }) => {
  const events = [];
  const client = createClient({ url, token: async () => token, webSocket, onEvent: ({ type, to }) => events.push(to === undefined ? type : `${type} ${to}`) });
  const found = await client.instances.list({ nameContains: 'consumer' }).first();
  const instance = found ?? (await client.instances.register({ name: 'consumer', host, port }));
  const phases = new Set();
  const started = await client.backups.create({ instanceId: instance.id, name: 'from a consumer' });
  const backup = await client.backups.wait(started, { onProgress: ({ state }) => phases.add(state), timeoutMs: 30_000 });
  const watched = [];
  for await (const { job } of client.backups.watch(started)) watched.push(job.state);
  let bytes = 0;
  const reader = (await client.backups.download(backup)).getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) bytes += read.value.length;
  const refused = await client.backups.tryCreate({ instanceId: 'ins_unknown', name: 'x' });
  const wrong = await createClient({ url, token: 'sb_wrong', retry: false }).viewer().catch((error) => error);
  client.close();
  return {
    version: SDK_VERSION, state: backup.state, ended: [...phases].at(-1), watched: watched.at(-1), whole: String(bytes) === backup.sizeBytes,
    refused: refused.ok ? 'no' : refused.error.kind, wrong: isSnapbackError(wrong) && wrong.code, socket: events.includes('socket'), fallbacks: events.filter((event) => event.startsWith('fallback')),
  };
};

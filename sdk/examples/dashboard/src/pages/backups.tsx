import { useState } from 'react';
import { type Backup, type Client, type Instance } from '@snapback/sdk';
import { BackupDialog } from '../dialogs/backup.js';
import { RestoreDialog } from '../dialogs/restore.js';
import { bytes, count, duration, total } from '../format.js';
import { usePages } from '../query.js';
import { useSession } from '../session.js';
import { Age } from '../time.js';
import { useAction } from '../ui/act.js';
import { Empty, Loading, Pager, Status } from '../ui/bits.js';
import { Problem } from '../ui/problem.js';
import { BACKUP_STATE, pick, say, TRIGGER } from '../words.js';

/**
 * The browser itself fetches the file, by a link that serves one download: so it may be larger than any memory. The link is taken from here,
 * whatever name the service believes to have: behind a tunnel or a proxy it has another.
 */
const download = async (client: Client, backup: Backup): Promise<void> => {
  const { url, fileName } = await client.backups.link(backup, { singleUse: true, expiresInSeconds: 300 });
  const { pathname, search } = new URL(url, location.href);
  const link = document.createElement('a');
  link.href = pathname.slice(pathname.indexOf('/downloads/')) + search;
  link.download = fileName;
  link.click();
};

const Row = ({ backup, onOpen, onRestore }: { backup: Backup; onOpen: () => void; onRestore: () => void }) => {
  const { client, mayOperate } = useSession();
  const fetching = useAction(async () => download(client, backup));
  const [tone, state] = pick(BACKUP_STATE, backup.state);
  const ready = backup.state === 'AVAILABLE';
  return (
    <tr>
      <th scope="row"><button type="button" className="text" onClick={onOpen}>{backup.name}</button><small>{say(TRIGGER, backup.trigger)}</small></th>
      <td data-label="State"><Status tone={tone}>{state}</Status></td>
      <td data-label="Taken"><Age at={backup.completedAt ?? backup.createdAt} />{backup.durationMs !== null && <small>took {duration(backup.durationMs / 1000)}</small>}</td>
      <td data-label="Size">{bytes(backup.sizeBytes)}<small>{backup.keys === null ? '' : `${count(backup.keys)} keys`}</small></td>
      <td data-label="Kept until">{backup.retainedBecause === 'NEWEST_GOOD' ? <>While newest</> : backup.expiresAt === null ? '–' : <Age at={backup.expiresAt} />}</td>
      {mayOperate && (
        <td className="actions">
          {ready && (
            <>
              <button type="button" className="small" disabled={fetching.busy} onClick={() => fetching.run()} aria-label={`Download ${backup.name}`}>Download</button>
              <button type="button" className="small" onClick={onRestore} aria-label={`Restore ${backup.name}`}>Restore …</button>
            </>
          )}
          <Problem error={fetching.error} />
        </td>
      )}
    </tr>
  );
};

export const BackupsTab = ({ instance }: { instance: Instance }) => {
  const { mayOperate } = useSession();
  const [opened, setOpened] = useState<Backup | null>(null);
  const [restoring, setRestoring] = useState<Backup | null>(null);
  const [trigger, setTrigger] = useState('');
  const pages = usePages(`backups ${instance.id} ${trigger}`, (client, page, signal) =>
    client.backups.list({ ...page, instanceId: instance.id, ...(trigger !== '' && { triggers: [trigger] }) }, { signal }));
  const items = pages.data?.items;
  const nothing = items?.length === 0 && pages.number === 1;
  return (
    <>
      {(!nothing || trigger !== '') && (
        <div className="tab-head">
          <label>Show <select value={trigger} onChange={({ target }) => setTrigger(target.value)}>
            <option value="">all backups</option>
            {Object.entries(TRIGGER).map(([value, text]) => <option key={value} value={value}>{text.toLowerCase()}</option>)}
          </select></label>
          <span className="hint">{pages.data === undefined ? '' : `${total(pages.data.totalCount)} in all`}</span>
        </div>
      )}
      <Problem error={pages.error} onRetry={pages.refresh} />
      {items === undefined && pages.error === undefined && <Loading what="backups" />}
      {nothing && (trigger === ''
        ? <Empty title="No backup yet">{instance.policy.enabled ? 'The first automatic one runs by itself; you can take one at any time.' : 'Automatic backups are off; you can take one at any time.'}</Empty>
        : <Empty title="No such backup" />)}
      {items !== undefined && items.length > 0 && (
        <table className="list">
          <caption className="hidden">Backups of {instance.name}</caption>
          <thead><tr><th scope="col">Name</th><th scope="col">State</th><th scope="col">Taken</th><th scope="col">Size</th><th scope="col">Expires</th>{mayOperate && <th scope="col"><span className="hidden">Actions</span></th>}</tr></thead>
          <tbody>{items.map((backup) => <Row key={backup.id} backup={backup} onOpen={() => setOpened(backup)} onRestore={() => setRestoring(backup)} />)}</tbody>
        </table>
      )}
      <Pager pages={pages} what="backups" />
      {opened !== null && <BackupDialog backup={items?.find(({ id }) => id === opened.id) ?? opened} onClose={() => setOpened(null)} />}
      {restoring !== null && <RestoreDialog backup={restoring} target={instance} onClose={() => setRestoring(null)} />}
    </>
  );
};

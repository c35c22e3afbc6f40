import { useState } from 'react';
import { type Instance, type Restore } from '@snapback/sdk';
import { RestoreDialog } from '../dialogs/restore.js';
import { bytes, count, sum } from '../format.js';
import { usePages } from '../query.js';
import { useSession } from '../session.js';
import { useStore } from '../store.js';
import { Age } from '../time.js';
import { Empty, Loading, Pager, Status } from '../ui/bits.js';
import { Problem } from '../ui/problem.js';
import { CONCLUSION, DATA_NOW, METHOD, pick, say } from '../words.js';

const keysIn = (databases: readonly { keys: string }[]): string => count(sum(databases.map(({ keys }) => keys)));

const Report = ({ restore: { report, unsavedWriteBytes } }: { restore: Restore }) => (
  <>
    {report?.keys != null && <small>{count(report.keys.restored)} keys written, {count(report.keys.skipped)} left as they were{report.keys.failed === '0' ? '' : `, ${count(report.keys.failed)} refused`}</small>}
    {report?.keys == null && report?.keysAfter != null && <small>{keysIn(report.keysBefore)} keys before, {keysIn(report.keysAfter)} after</small>}
    {unsavedWriteBytes !== null && unsavedWriteBytes !== '0' && <small className="wrong">{bytes(unsavedWriteBytes)} of writes came after the safety copy</small>}
    {report?.bgsaveSuggested === true && <small>Run BGSAVE on the server to keep it across a restart.</small>}
  </>
);

const Row = ({ restore, onUndo }: { restore: Restore; onUndo: () => void }) => {
  const { live, mayOperate } = useSession();
  const { job, backup, safetyBackup, undo } = restore;
  // The feed knows it before the list is read anew.
  const ended = useStore(live.jobs).get(job.id)?.job.conclusion ?? job.conclusion;
  const [tone, state] = ended === null ? (['busy', 'Running'] as const) : pick(CONCLUSION, ended);
  const [dataTone, data] = pick(DATA_NOW, restore.dataNow);
  return (
    <tr>
      <th scope="row">{backup.name}<small>{say(METHOD, restore.method)}</small></th>
      <td data-label="State"><Status tone={tone}>{state}</Status></td>
      <td data-label="When"><Age at={restore.completedAt ?? restore.createdAt} /></td>
      <td data-label="Target holds">{ended === null ? '–' : <Status tone={dataTone}>{data}</Status>}<Report restore={restore} /></td>
      <td data-label="Safety copy">{safetyBackup === null ? <span className="none">None</span> : safetyBackup.name}</td>
      {mayOperate && <td className="actions">{undo !== null && <button type="button" className="small" onClick={onUndo} aria-label={`Undo the restore of ${backup.name}`}>Undo …</button>}</td>}
    </tr>
  );
};

export const RestoresTab = ({ instance }: { instance: Instance }) => {
  const { mayOperate } = useSession();
  const [undoing, setUndoing] = useState<Restore | null>(null);
  const pages = usePages(`restores ${instance.id}`, (client, page, signal) => client.restores.list({ ...page, instanceId: instance.id }, { signal }));
  const items = pages.data?.items;
  return (
    <>
      <Problem error={pages.error} onRetry={pages.refresh} />
      {items === undefined && pages.error === undefined && <Loading what="restores" />}
      {items?.length === 0 && <Empty title="Nothing was restored into this server">Choose a backup in the first tab: what a restore would do is shown before anything is written.</Empty>}
      {items !== undefined && items.length > 0 && (
        <table className="list">
          <caption className="hidden">Restores into {instance.name}</caption>
          <thead><tr><th scope="col">Backup</th><th scope="col">State</th><th scope="col">When</th><th scope="col">Target holds</th><th scope="col">Safety copy</th>{mayOperate && <th scope="col"><span className="hidden">Actions</span></th>}</tr></thead>
          <tbody>{items.map((restore) => <Row key={restore.id} restore={restore} onUndo={() => setUndoing(restore)} />)}</tbody>
        </table>
      )}
      <Pager pages={pages} what="restores" />
      {undoing?.undo != null && undoing.safetyBackup !== null && (
        <RestoreDialog backup={undoing.safetyBackup} target={instance} undo={undoing.undo} onClose={() => setUndoing(null)} />
      )}
    </>
  );
};

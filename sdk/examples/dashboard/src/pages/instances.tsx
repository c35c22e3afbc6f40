import { useDeferredValue, useState } from 'react';
import { type Instance } from '@snapback/sdk';
import { RegisterDialog } from '../dialogs/register.js';
import { count } from '../format.js';
import { usePages } from '../query.js';
import { Link } from '../router.js';
import { useSession } from '../session.js';
import { useStore } from '../store.js';
import { Age, When } from '../time.js';
import { Empty, Loading, Pager, PageTitle, Status } from '../ui/bits.js';
import { Problem } from '../ui/problem.js';
import { Bar, RunningJobs } from '../ui/running.js';
import { ENGINE, isRunning, jobState, jobTitle, pick, RECOVERY, say } from '../words.js';

const Standing = ({ instance: { id, capabilities, recovery } }: { instance: Instance }) => {
  const { live } = useSession();
  const job = [...useStore(live.jobs).values()].map((seen) => seen.job).find((each) => isRunning(each) && each.instance?.id === id && (each.kind === 'BACKUP' || each.kind === 'RESTORE'));
  if (job !== undefined) {
    const [tone, text] = jobState(job);
    return <div className="standing"><Status tone={tone}>{job.kind === 'RESTORE' ? `Restore: ${text.toLowerCase()}` : text}</Status><Bar job={job} label={jobTitle(job)} /></div>;
  }
  if (!capabilities.backup.possible) return <span title={capabilities.backup.reason ?? undefined}><Status tone="bad">Cannot be backed up</Status></span>;
  const [tone, text] = pick(RECOVERY, recovery.status);
  return <Status tone={tone}>{text}</Status>;
};

const Row = ({ instance }: { instance: Instance }) => {
  const { server, recovery, latestBackup } = instance;
  return (
    <tr>
      <th scope="row">
        <Link to={`/instances/${instance.id}/backups`}>{instance.name}</Link>
        <small>{instance.host}:{instance.port}</small>
      </th>
      <td data-label="State"><Standing instance={instance} /></td>
      <td data-label="Last backup">
        {latestBackup === null || latestBackup.completedAt === null ? <span className="none">None</span> : <><Age at={latestBackup.completedAt} /><small>{latestBackup.name}</small></>}
      </td>
      <td data-label="Next run">{recovery.nextRunAt === null ? <span className="none">Off</span> : <><Age at={recovery.nextRunAt} /><small><When at={recovery.nextRunAt} /></small></>}</td>
      <td data-label="Server">{say(ENGINE, server.engine)} {server.version}<small>{count(server.keys)} keys</small></td>
    </tr>
  );
};

export const InstancesPage = () => {
  const { mayExtend } = useSession();
  const [registering, setRegistering] = useState(false);
  const [typed, setTyped] = useState('');
  const nameContains = useDeferredValue(typed.trim());
  const pages = usePages(`instances ${nameContains}`, (client, page, signal) => client.instances.list({ ...page, ...(nameContains !== '' && { nameContains }) }, { signal }));
  const items = pages.data?.items;
  const register = mayExtend ? <button type="button" className="primary" onClick={() => setRegistering(true)}>Register a server</button> : undefined;
  const nothing = items?.length === 0 && nameContains === '' && pages.number === 1;
  return (
    <>
      <div className="page-head">
        <PageTitle title="Servers" />
        {!nothing && items !== undefined && (
          <div className="tools">
            <input type="search" aria-label="Find by name" placeholder="Find by name" value={typed} onChange={({ target }) => setTyped(target.value)} />
            {register}
          </div>
        )}
      </div>
      <RunningJobs />
      <Problem error={pages.error} onRetry={pages.refresh} />
      {items === undefined && pages.error === undefined && <Loading what="servers" />}
      {nothing && <Empty title="No server is protected yet" action={register}>Register one by its address: it is probed at once, and gets a daily backup.</Empty>}
      {items?.length === 0 && !nothing && <Empty title="No server has such a name" />}
      {items !== undefined && items.length > 0 && (
        <table className="list">
          <caption className="hidden">Protected servers</caption>
          <thead><tr><th scope="col">Name</th><th scope="col">State</th><th scope="col">Last backup</th><th scope="col">Next run</th><th scope="col">Server</th></tr></thead>
          <tbody>{items.map((instance) => <Row key={instance.id} instance={instance} />)}</tbody>
        </table>
      )}
      <Pager pages={pages} what="servers" />
      {registering && <RegisterDialog onClose={() => setRegistering(false)} />}
    </>
  );
};

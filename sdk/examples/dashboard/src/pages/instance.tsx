import { useState } from 'react';
import { type Instance } from '@snapback/sdk';
import { BackUpNowDialog } from '../dialogs/back-up-now.js';
import { bytes, count } from '../format.js';
import { useQuery } from '../query.js';
import { go, Link } from '../router.js';
import { useSession } from '../session.js';
import { Age, When } from '../time.js';
import { Empty, Loading, PageTitle, Status } from '../ui/bits.js';
import { Problem } from '../ui/problem.js';
import { RunningJobs } from '../ui/running.js';
import { Tabs } from '../ui/tabs.js';
import { ENGINE, pick, RECOVERY, say, words } from '../words.js';
import { BackupsTab } from './backups.js';
import { JobsList } from './jobs.js';
import { PolicyTab } from './policy.js';
import { RestoresTab } from './restores.js';

const TABS = [{ id: 'backups', label: 'Backups' }, { id: 'settings', label: 'Backup settings' }, { id: 'restores', label: 'Restore history' }, { id: 'jobs', label: 'Jobs' }];

const Facts = ({ instance: { server, recovery, policy, latestBackup, host, port } }: { instance: Instance }) => (
  <dl className="facts">
    <div><dt>Last backup</dt><dd>{latestBackup?.completedAt == null ? <span className="none">None</span> : <Age at={latestBackup.completedAt} />}</dd></div>
    <div><dt>Next run</dt><dd>{recovery.nextRunAt === null ? <span className="none">Off</span> : <><Age at={recovery.nextRunAt} /> <small><When at={recovery.nextRunAt} /></small></>}</dd></div>
    <div><dt>Kept for</dt><dd>{policy.retentionDays} days</dd></div>
    <div><dt>Server</dt><dd>{say(ENGINE, server.engine)} {server.version} <small>{words(server.role)}{server.mode === 'STANDALONE' ? '' : `, ${words(server.mode)}`}</small></dd></div>
    <div><dt>Data</dt><dd>{count(server.keys)} keys <small>{bytes(server.usedMemoryBytes)}</small></dd></div>
    <div><dt>Address</dt><dd>{host}:{port}</dd></div>
  </dl>
);

const Limits = ({ instance: { capabilities: { backup, restore } } }: { instance: Instance }) => (
  <>
    {!backup.possible && <p className="notice warn"><b>No backup is possible.</b> {backup.reason}</p>}
    {!restore.possible && <p className="notice warn"><b>Nothing can be restored into it.</b> {restore.reason}</p>}
  </>
);

export const InstancePage = ({ id, tab }: { id: string; tab: string }) => {
  const { mayOperate } = useSession();
  const [naming, setNaming] = useState(false);
  const query = useQuery(`instance ${id}`, (client, signal) => client.instances.get(id, { signal }));
  const instance = query.data;
  const selected = TABS.some((each) => each.id === tab) ? tab : 'backups';
  if (instance === undefined || instance === null) {
    return (
      <>
        <PageTitle title="Server" />
        <Problem error={query.error} onRetry={query.refresh} />
        {instance === undefined && query.error === undefined && <Loading what="the server" />}
        {instance === null && <Empty title="There is no such server" action={<button type="button" className="primary" onClick={() => go('/')}>To the servers</button>} />}
      </>
    );
  }
  const [tone, standing] = instance.removedAt === null ? pick(RECOVERY, instance.recovery.status) : (['idle', 'Removed'] as const);
  return (
    <>
      <nav className="crumbs" aria-label="Where you are"><Link to="/">Servers</Link></nav>
      <div className="page-head">
        <PageTitle title={instance.name}>{instance.name}</PageTitle>
        <Status tone={tone}>{standing}</Status>
        {mayOperate && instance.removedAt === null && (
          <div className="tools"><button type="button" className="primary" disabled={!instance.capabilities.backup.possible} onClick={() => setNaming(true)}>Back up now</button></div>
        )}
      </div>
      <Facts instance={instance} />
      <Limits instance={instance} />
      <Problem error={query.error} onRetry={query.refresh} />
      <RunningJobs instanceId={id} />
      <Tabs label={`About ${instance.name}`} tabs={TABS} selected={selected} onSelect={(next) => go(`/instances/${id}/${next}`, { replace: true })}>
        {selected === 'backups' && <BackupsTab instance={instance} />}
        {selected === 'settings' && <PolicyTab instance={instance} />}
        {selected === 'restores' && <RestoresTab instance={instance} />}
        {selected === 'jobs' && <JobsList instanceId={id} />}
      </Tabs>
      {naming && <BackUpNowDialog instance={instance} onClose={() => setNaming(false)} />}
    </>
  );
};

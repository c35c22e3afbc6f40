import { type Job } from '@snapback/sdk';
import { duration } from '../format.js';
import { usePages } from '../query.js';
import { Link } from '../router.js';
import { useSession } from '../session.js';
import { useStore } from '../store.js';
import { Age } from '../time.js';
import { Empty, Loading, Pager, PageTitle, Status } from '../ui/bits.js';
import { JobProblem, Problem } from '../ui/problem.js';
import { RunningJobs } from '../ui/running.js';
import { jobState, jobTitle } from '../words.js';

const Row = ({ job, withInstance }: { job: Job; withInstance: boolean }) => {
  const [tone, state] = jobState(job);
  const { startedAt, completedAt, instance, notices } = job;
  return (
    <tr>
      <th scope="row">
        {jobTitle(job)}
        <JobProblem job={job} />
        {notices.length > 0 && <details><summary>{notices.length === 1 ? '1 notice' : `${String(notices.length)} notices`}</summary>{notices.map(({ code, message }, at) => <p key={at} className="hint">{message} <code className="code">{code}</code></p>)}</details>}
      </th>
      {withInstance && <td data-label="Server">{instance === null ? '–' : <Link to={`/instances/${instance.id}/backups`}>{instance.name}</Link>}</td>}
      <td data-label="State"><Status tone={tone}>{state}</Status></td>
      <td data-label="Asked for"><Age at={job.createdAt} /></td>
      <td data-label="Took">{startedAt === null || completedAt === null ? '–' : duration((Date.parse(completedAt) - Date.parse(startedAt)) / 1000)}</td>
    </tr>
  );
};

/** Jobs of one instance, or of all; those that run stand as they do this very moment. */
export const JobsList = ({ instanceId }: { instanceId?: string }) => {
  const { live } = useSession();
  const running = useStore(live.jobs);
  const pages = usePages(`jobs ${instanceId ?? ''}`, (client, page, signal) => client.jobs.list({ ...page, ...(instanceId !== undefined && { instanceIds: [instanceId] }) }, { signal }));
  const items = pages.data?.items.map((job) => {
    const seen = running.get(job.id)?.job;
    return seen !== undefined && seen.sequence > job.sequence ? seen : job;
  });
  const withInstance = instanceId === undefined;
  return (
    <>
      <Problem error={pages.error} onRetry={pages.refresh} />
      {items === undefined && pages.error === undefined && <Loading what="jobs" />}
      {items?.length === 0 && <Empty title="Nothing has happened yet">Backups, restores and all other work is listed here, with how it went.</Empty>}
      {items !== undefined && items.length > 0 && (
        <table className="list jobs">
          <caption className="hidden">Jobs</caption>
          <thead><tr><th scope="col">Job</th>{withInstance && <th scope="col">Server</th>}<th scope="col">State</th><th scope="col">Asked for</th><th scope="col">Took</th></tr></thead>
          <tbody>{items.map((job) => <Row key={job.id} job={job} withInstance={withInstance} />)}</tbody>
        </table>
      )}
      <Pager pages={pages} what="jobs" />
    </>
  );
};

export const JobsPage = () => (
  <>
    <div className="page-head"><PageTitle title="Activity" /></div>
    <RunningJobs />
    <JobsList />
  </>
);

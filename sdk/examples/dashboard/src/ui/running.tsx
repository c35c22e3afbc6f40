import { type Job } from '@snapback/sdk';
import { bytes, count, duration } from '../format.js';
import { lingers } from '../live.js';
import { Link } from '../router.js';
import { useSession } from '../session.js';
import { useStore } from '../store.js';
import { useNow } from '../time.js';
import { isRunning, jobState, jobTitle } from '../words.js';
import { useAction } from './act.js';
import { Status } from './bits.js';
import { JobProblem, Problem } from './problem.js';

/** From 0 to 1; undefined while nobody can know. */
const fractionOf = (job: Job): number | undefined => {
  if (job.conclusion === 'SUCCEEDED') return 1;
  return job.progress?.fraction ?? undefined;
};

const figures = ({ progress, state }: Job): string[] => {
  if (progress === null) return [];
  const { bytesDone, bytesTotal, keysDone, keysTotal, bytesPerSecond, remainingSeconds } = progress;
  const of = (total: string | null, say: (amount: string) => string): string => (total === null ? '' : ` of ${say(total)}`);
  return [
    `${bytes(bytesDone)}${of(bytesTotal, bytes)}`,
    ...(keysDone === '0' && keysTotal === null ? [] : [`${count(keysDone)}${of(keysTotal, count)} keys`]),
    ...(state === 'COMPLETED' || bytesPerSecond === null ? [] : [`${bytes(bytesPerSecond)}/s`]),
    ...(state === 'COMPLETED' || remainingSeconds === null ? [] : [`${duration(remainingSeconds)} left`]),
  ];
};

export const Bar = ({ job, label }: { job: Job; label: string }) => {
  const fraction = fractionOf(job);
  return fraction === undefined && isRunning(job) && job.state !== 'QUEUED'
    ? <progress aria-label={label} max={1} />
    : <progress aria-label={label} max={1} value={fraction ?? 0} className={job.state === 'COMPLETED' ? job.conclusion?.toLowerCase() : undefined} />;
};

const Elapsed = ({ since, until }: { since: string; until: string | null }) => {
  const now = useNow();
  return <>{duration(((until === null ? now : Date.parse(until)) - Date.parse(since)) / 1000)}</>;
};

const JobCard = ({ job, withInstance }: { job: Job; withInstance: boolean }) => {
  const { client, live, mayOperate } = useSession();
  const [tone, state] = jobState(job);
  const title = jobTitle(job);
  const cancel = useAction(async () => live.changed([await client.jobs.cancel(job)]));
  return (
    <li className="job" data-job={job.id}>
      <div className="job-head">
        <strong>{title}</strong>
        {withInstance && job.instance !== null && <Link to={`/instances/${job.instance.id}/backups`}>{job.instance.name}</Link>}
        <Status tone={tone}>{state}</Status>
        {mayOperate && job.cancellable && job.cancelRequestedAt === null && isRunning(job) && (
          <button type="button" className="small" disabled={cancel.busy} onClick={() => cancel.run()} aria-label={`Cancel: ${title}`}>Cancel</button>
        )}
      </div>
      <Bar job={job} label={title} />
      <p className="figures">
        {figures(job).map((text) => <span key={text}>{text}</span>)}
        {job.startedAt !== null && <span className="elapsed"><Elapsed since={job.startedAt} until={job.completedAt} /></span>}
      </p>
      <JobProblem job={job} />
      <Problem error={cancel.error} />
    </li>
  );
};

/** Jobs under way, of one instance or of all, and for a moment those that have just ended. Nothing where there are none. */
export const RunningJobs = ({ instanceId }: { instanceId?: string }) => {
  const { live } = useSession();
  const jobs = useStore(live.jobs);
  const now = useNow();
  const shown = [...jobs.values()]
    .filter((seen) => lingers(seen, now) && (instanceId === undefined || seen.job.instance?.id === instanceId))
    .map(({ job }) => job)
    .sort((one, other) => one.createdAt.localeCompare(other.createdAt));
  if (shown.length === 0) return null;
  return (
    <section className="running" aria-label="Running jobs">
      <ul>{shown.map((job) => <JobCard key={job.id} job={job} withInstance={instanceId === undefined} />)}</ul>
    </section>
  );
};

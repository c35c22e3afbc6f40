import { type FormEvent, useState } from 'react';
import { type Instance, type Policy } from '@snapback/sdk';
import { dateTime, ownZone } from '../format.js';
import { useQuery } from '../query.js';
import { useSession } from '../session.js';
import { Age } from '../time.js';
import { useAction } from '../ui/act.js';
import { Empty, Loading } from '../ui/bits.js';
import { Check, Field } from '../ui/field.js';
import { fieldErrors, Problem } from '../ui/problem.js';
import { toast } from '../ui/toasts.js';
import { words } from '../words.js';

const WEEKDAYS = ['MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY', 'SATURDAY', 'SUNDAY'];
const ZONES = ['UTC', ...Intl.supportedValuesOf('timeZone')];
const FIELDS = ['weekdays', 'startTime', 'windowMinutes', 'timeZone'];

type Draft = Pick<Policy, 'enabled' | 'weekdays' | 'startTime' | 'windowMinutes' | 'timeZone'>;

const draftOf = ({ enabled, weekdays, startTime, windowMinutes, timeZone }: Policy): Draft =>
  ({ enabled, weekdays: WEEKDAYS.filter((day) => weekdays.includes(day)), startTime, windowMinutes, timeZone });

const same = (one: Draft, other: Draft): boolean => JSON.stringify(one) === JSON.stringify(other);

const Weekdays = ({ value, onChange, error }: { value: readonly string[]; onChange: (days: string[]) => void; error: string | undefined }) => (
  <fieldset className="weekdays">
    <legend>Weekdays</legend>
    <div>
      {WEEKDAYS.map((day) => (
        <label key={day}>
          <input
            type="checkbox" checked={value.includes(day)} aria-label={words(day)}
            onChange={({ target }) => onChange(WEEKDAYS.filter((each) => (each === day ? target.checked : value.includes(each))))}
          />
          <span aria-hidden="true">{words(day).slice(0, 3)}</span>
        </label>
      ))}
    </div>
    {(error !== undefined || value.length === 0) && <p className="wrong">{error ?? 'At least one day must remain.'}</p>}
  </fieldset>
);

const NextRuns = ({ policy }: { policy: Policy }) => {
  const elsewhere = policy.timeZone !== ownZone();
  return (
    <section className="runs" aria-labelledby="runs">
      <h3 id="runs">Next runs</h3>
      {policy.upcomingRuns.length === 0 && <p className="hint">Automatic backups are off.</p>}
      <ol>
        {policy.upcomingRuns.map(({ plannedAt }) => (
          <li key={plannedAt}>
            <time dateTime={plannedAt}>{dateTime(plannedAt, policy.timeZone)}</time>
            {elsewhere && <small>{dateTime(plannedAt)} here</small>}
            <span className="hint"><Age at={plannedAt} /></span>
          </li>
        ))}
      </ol>
      <p className="hint">Backups are kept for {policy.retentionDays} days; the newest good one stays for as long as the server is protected.</p>
    </section>
  );
};

const PolicyForm = ({ instance, policy, onSaved }: { instance: Instance; policy: Policy; onSaved: () => void }) => {
  const { client, live, mayOperate } = useSession();
  // What is stored is shown until something is changed here; from then on only this form's own values.
  const [edited, setEdited] = useState<Draft | null>(null);
  const draft = edited ?? draftOf(policy);
  const change = (part: Partial<Draft>): void => setEdited({ ...draft, ...part });
  const save = useAction(async () => {
    await client.policies.set({ instanceId: instance.id, ...draft, weekdays: [...draft.weekdays] });
    onSaved();
    live.changed();
    setEdited(null);
    toast('good', `Backup settings of ${instance.name} saved`);
  });
  const errors = fieldErrors(save.error, FIELDS);
  const dirty = edited !== null && !same(edited, draftOf(policy));
  return (
    <form
      className="policy"
      onSubmit={(event: FormEvent) => {
        event.preventDefault();
        save.run();
      }}
    >
      <fieldset disabled={!mayOperate}>
        <legend className="hidden">When automatic backups run</legend>
        <Check label="Automatic backups" checked={draft.enabled} onChange={({ target }) => change({ enabled: target.checked })} note="Changes apply from the next run on." />
        <Weekdays value={draft.weekdays} onChange={(weekdays) => change({ weekdays })} error={errors.of('weekdays')} />
        <div className="row">
          <Field label="Window opens at" type="time" required value={draft.startTime} onChange={({ target }) => change({ startTime: target.value })} error={errors.of('startTime')} />
          <Field
            label="Stays open, minutes" type="number" min={1} max={1440} required value={draft.windowMinutes || ''} error={errors.of('windowMinutes')}
            onChange={({ target }) => change({ windowMinutes: Number(target.value) })} note="A run starts at its own moment in it."
          />
        </div>
        <Field
          label="Time zone" required spellCheck={false} value={draft.timeZone} list={ZONES} error={errors.of('timeZone')}
          onChange={({ target }) => change({ timeZone: target.value })} note="A zone such as Europe/Berlin, or a fixed offset such as +08:00."
        />
        <Problem error={errors.rest} />
        {mayOperate && (
          <div className="form-end">
            <button className="primary" disabled={!dirty || save.busy || draft.weekdays.length === 0}>{save.busy ? 'Saving …' : 'Save'}</button>
            {dirty && <button type="button" onClick={() => setEdited(null)}>Discard changes</button>}
          </div>
        )}
      </fieldset>
    </form>
  );
};

export const PolicyTab = ({ instance }: { instance: Instance }) => {
  const query = useQuery(`policy ${instance.id}`, (client, signal) => client.policies.get(instance, { signal }));
  if (instance.removedAt !== null) return <Empty title="This server is no longer protected">It has no automatic backups any more.</Empty>;
  return (
    <>
      <Problem error={query.error} onRetry={query.refresh} />
      {query.data === undefined && query.error === undefined && <Loading what="the settings" />}
      {query.data != null && <div className="split"><PolicyForm instance={instance} policy={query.data} onSaved={query.refresh} /><NextRuns policy={query.data} /></div>}
    </>
  );
};

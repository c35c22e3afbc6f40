import { type FormEvent, type ReactNode, useCallback, useEffect, useState } from 'react';
import { type CreateRestorePlanInput, type Instance, type Restore, type RestorePlan } from '@snapback/sdk';
import { bytes, duration, plural, sum } from '../format.js';
import { useQuery } from '../query.js';
import { useSession } from '../session.js';
import { useNow } from '../time.js';
import { useAction } from '../ui/act.js';
import { Check, Field } from '../ui/field.js';
import { Modal } from '../ui/modal.js';
import { Problem } from '../ui/problem.js';
import { toast } from '../ui/toasts.js';
import { METHOD, say } from '../words.js';

type Undo = NonNullable<Restore['undo']>;

const keysIn = (databases: readonly { keys: string }[]): string => plural(sum(databases.map(({ keys }) => keys)), 'key');

const Point = ({ tone, children }: { tone: 'bad' | 'warn' | 'note'; children: ReactNode }) => <li className={`point ${tone}`}>{children}</li>;

/** What the plan says will happen, in the order in which it matters. */
const PlanView = ({ plan, accepted, onAccept, onAcceptLoss }: {
  plan: RestorePlan; accepted: readonly string[]; onAccept: (name: string, yes: boolean) => void; onAcceptLoss: (name: string) => void;
}) => (
  <>
    <div className="before-after">
      <div><span>Now in {plan.instance.name}</span><b>{keysIn(plan.keysNow)}</b></div>
      <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 12h15m-6-6 6 6-6 6" /></svg>
      <div><span>After the restore</span><b>{plan.replacesEverything ? '' : 'at most '}{keysIn(plan.keysAfter)}</b></div>
    </div>
    <ul className="points">
      {plan.blockers.filter((blocker) => !plan.losses.some(({ name }) => name === blocker.name)).map(({ name, code, message, hint }) => (
        <Point key={name} tone="bad">{message} <code className="code">{code}</code>{hint !== null && <small>{hint}</small>}</Point>
      ))}
      {plan.losses.filter(({ accepted: yes }) => !yes).map(({ name, message }) => (
        <Point key={name} tone="bad">{message} <button type="button" className="small" onClick={() => onAcceptLoss(name)}>Leave it behind</button></Point>
      ))}
      <Point tone="warn"><b>{plan.replacesEverything ? `Everything that is in ${plan.instance.name} now is replaced.` : `Keys are written into what is in ${plan.instance.name} now.`}</b></Point>
      {plan.warnings.map(({ name, message, hint, mustAccept }) => (
        <Point key={name} tone="warn">
          {mustAccept ? <Check label={message} checked={accepted.includes(name)} onChange={({ target }) => onAccept(name, target.checked)} note={hint ?? undefined} /> : <>{message}{hint !== null && <small>{hint}</small>}</>}
        </Point>
      ))}
      <Point tone="note">{plan.safetyBackup ? 'A safety copy is taken first; with it the restore can be undone.' : <b>No safety copy is taken: there is no way back.</b>}</Point>
      {plan.method !== null && <Point tone="note">Restored {say(METHOD, plan.method)}. {plan.methodReason}</Point>}
      {plan.memory.estimatedBytes !== null && <Point tone="note">It will use about {bytes(plan.memory.estimatedBytes)} of memory{Number(plan.memory.maxBytes ?? 0) > 0 ? ` of ${bytes(plan.memory.maxBytes)}` : ''}.</Point>}
    </ul>
  </>
);

const Expiry = ({ at, onOver }: { at: string; onOver: () => void }) => {
  const left = Math.floor((Date.parse(at) - useNow()) / 1000);
  const over = left <= 0;
  useEffect(() => {
    if (over) onOver();
  }, [over, onOver]);
  return <p className="hint">This plan can be used for {duration(left)} more.</p>;
};

/** Shows what a restore would do, has the target's name typed, and begins it. */
export const RestoreDialog = ({ backup, target, undo, onClose }: { backup: { id: string; name: string }; target: Pick<Instance, 'id' | 'name'>; undo?: Undo; onClose: () => void }) => {
  const { client, live } = useSession();
  const [input, setInput] = useState<CreateRestorePlanInput>({ backupId: backup.id, instanceId: undo?.instanceId ?? target.id, safetyBackup: undo?.safetyBackup ?? true });
  const [plan, setPlan] = useState<{ plan?: RestorePlan; error?: unknown }>({});
  const [round, setRound] = useState(0);
  const replan = useCallback(() => setRound((before) => before + 1), []);
  const [typed, setTyped] = useState('');
  const [accepted, setAccepted] = useState<readonly string[]>([]);
  const others = useQuery('targets', async (service, signal) => service.instances.list({}, { signal }).toArray({ limit: 200 }));

  useEffect(() => {
    const gone = new AbortController();
    setPlan({});
    setAccepted([]);
    client.restores.plan(input, { signal: gone.signal, timeoutMs: 60_000 }).then(
      (made) => gone.signal.aborted || setPlan({ plan: made }),
      (error: unknown) => gone.signal.aborted || setPlan({ error }),
    );
    return () => gone.abort();
  }, [client, input, round]);

  const run = useAction(async (planId: string) => {
    const { job } = await client.restores.run({ planId, confirmation: typed, acceptedWarnings: [...accepted] }, { timeoutMs: 30_000 });
    live.changed([job]);
    toast('busy', `The restore of “${backup.name}” has begun`);
    onClose();
  });
  const ready = plan.plan;
  const mayRun = ready !== undefined && ready.blockers.length === 0 && typed === ready.confirmationText
    && ready.warnings.every(({ name, mustAccept }) => !mustAccept || accepted.includes(name));
  const targets = others.data ?? [target];

  return (
    <Modal title={undo === undefined ? `Restore “${backup.name}”` : 'Undo the restore'} onClose={onClose} wide>
      <form
        onSubmit={(event: FormEvent) => {
          event.preventDefault();
          if (mayRun) run.run(ready.id);
        }}
      >
        {undo !== undefined && <p className="notice">{undo.message}</p>}
        {undo === undefined && (
          <div className="options">
            <div className="field">
              <label htmlFor="target">Restore into</label>
              <select id="target" value={input.instanceId} onChange={(event) => setInput({ ...input, instanceId: event.target.value, acceptedLosses: [] })}>
                {targets.map(({ id, name }) => <option key={id} value={id}>{name}</option>)}
              </select>
            </div>
            <div className="field">
              <label htmlFor="method">How</label>
              <select id="method" value={input.method ?? ''} onChange={(event) => setInput({ ...input, method: event.target.value || null, acceptedLosses: [] })}>
                <option value="">as fits best</option>
                <option value="REPLICATION_LINK">by replication link</option>
                <option value="RESTORE_PIPELINE">key by key</option>
              </select>
            </div>
            <Check label="Take a safety copy first" checked={input.safetyBackup === true} onChange={(event) => setInput({ ...input, safetyBackup: event.target.checked })} />
          </div>
        )}
        <div aria-live="polite">
          {ready === undefined && plan.error === undefined && <p className="loading">Finding out what it would do; nothing is written …</p>}
          <Problem error={plan.error} onRetry={replan} />
          {ready !== undefined && (
            <PlanView
              plan={ready} accepted={accepted}
              onAccept={(name, yes) => setAccepted(yes ? [...accepted, name] : accepted.filter((each) => each !== name))}
              onAcceptLoss={(name) => setInput({ ...input, acceptedLosses: [...(input.acceptedLosses ?? []), name] })}
            />
          )}
        </div>
        {ready !== undefined && ready.blockers.length === 0 && (
          <Field
            label={`Type ${ready.confirmationText} to confirm`} autoComplete="off" spellCheck={false} value={typed} onChange={(event) => setTyped(event.target.value)}
          />
        )}
        {ready !== undefined && ready.blockers.length === 0 && <Expiry at={ready.expiresAt} onOver={replan} />}
        <Problem error={run.error} onRetry={() => {
          run.clear();
          replan();
        }} />
        <footer>
          <button type="button" onClick={onClose}>Cancel</button>
          <button className="danger" disabled={!mayRun || run.busy}>{run.busy ? 'Starting …' : undo === undefined ? 'Restore' : 'Undo'}</button>
        </footer>
      </form>
    </Modal>
  );
};

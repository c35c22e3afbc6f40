import { type FormEvent, useEffect, useRef, useState } from 'react';
import { signIn } from '../session.js';
import { useAction } from '../ui/act.js';
import { Check, Field } from '../ui/field.js';
import { Problem } from '../ui/problem.js';

/** @param why the session before this one ended; `problem`: what a kept key met */
export const SignIn = ({ why, problem }: { why: string | null; problem: unknown }) => {
  const [key, setKey] = useState('');
  const [remember, setRemember] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const enter = useAction(async () => signIn(key.trim(), { remember }));
  useEffect(() => {
    document.title = 'Sign in · Snapback';
    form.current?.querySelector('input')?.focus();
  }, []);
  return (
    <main className="sign-in">
      <form
        ref={form}
        onSubmit={(event: FormEvent) => {
          event.preventDefault();
          enter.run();
        }}
      >
        <img src="/dashboard/mark.svg" alt="" width="44" height="44" />
        <h1>Snapback</h1>
        <p>Backups of your Redis and Valkey servers.</p>
        {why !== null && <p className="notice" role="status">{why}</p>}
        <Field
          label="API key" type="password" autoComplete="off" spellCheck={false} placeholder="sb_…" required value={key} onChange={({ target }) => setKey(target.value)}
        />
        <Check
          label="Stay signed in when this tab reloads" checked={remember} onChange={({ target }) => setRemember(target.checked)}
          note="The key is then kept by this tab until it is closed. Otherwise it is only in its memory."
        />
        <button className="primary" disabled={enter.busy}>{enter.busy ? 'Signing in …' : 'Sign in'}</button>
        <Problem error={enter.error ?? problem} />
        <p className="hint">The first key was printed when the service first started, and stands in <code>admin-key</code> in its data folder.</p>
      </form>
    </main>
  );
};

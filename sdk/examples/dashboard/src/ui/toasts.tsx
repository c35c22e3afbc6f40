import { useEffect } from 'react';
import { createStore, useStore } from '../store.js';
import { useSession } from '../session.js';
import { CONCLUSION, jobTitle, pick, type Tone } from '../words.js';

interface Toast {
  id: number;
  tone: Tone;
  text: string;
}

const toasts = createStore<readonly Toast[]>([]);
let last = 0;

const dismiss = (id: number): void => toasts.set(toasts.get().filter((toast) => toast.id !== id));

/** Says something in passing. What is bad stays longer; all of it stands in a list, too. */
export const toast = (tone: Tone, text: string): void => {
  const id = (last += 1);
  toasts.set([...toasts.get().slice(-3), { id, tone, text }]);
  setTimeout(() => dismiss(id), tone === 'bad' ? 15_000 : 6_000);
};

/** The project's news: what ended, and how. */
export const Toasts = () => {
  const { live } = useSession();
  useEffect(() => live.onChange((change) => {
    if (change === null || !change.ended || change.job.kind === 'PLAN') return;
    const [tone, how] = pick(CONCLUSION, change.job.conclusion ?? 'FAILED');
    const where = change.job.instance === null ? '' : ` · ${change.job.instance.name}`;
    toast(tone, `${jobTitle(change.job)}${where}: ${how.toLowerCase()}`);
  }), [live]);
  return (
    <div className="toasts" role="status">
      {useStore(toasts).map(({ id, tone, text }) => (
        <div key={id} className={`toast ${tone}`}>
          <span className="dot" aria-hidden="true" />{text}
          <button type="button" className="icon" aria-label="Dismiss" onClick={() => dismiss(id)}><svg viewBox="0 0 16 16" aria-hidden="true"><path d="m4 4 8 8m0-8-8 8" /></svg></button>
        </div>
      ))}
    </div>
  );
};

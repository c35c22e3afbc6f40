import { type ReactNode, useEffect, useRef } from 'react';
import { total } from '../format.js';
import { type Tone } from '../words.js';

export const Status = ({ tone, children }: { tone: Tone; children: ReactNode }) => (
  <span className={`status ${tone}`}><span className="dot" aria-hidden="true" />{children}</span>
);

export const Empty = ({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) => (
  <div className="empty">
    <svg viewBox="0 0 48 48" aria-hidden="true"><rect x="7" y="9" width="34" height="12" rx="3" /><rect x="7" y="27" width="34" height="12" rx="3" /><path d="M13 15h.01M13 33h.01M20 15h14M20 33h8" /></svg>
    <h2>{title}</h2>
    {children !== undefined && <p>{children}</p>}
    {action}
  </div>
);

export const Loading = ({ what }: { what: string }) => <p className="loading" role="status">Loading {what} …</p>;

/** A page's heading. It takes the focus when its page is opened, so that keyboards and screen readers are there, too. */
export const PageTitle = ({ title, children }: { title: string; children?: ReactNode }) => {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Snapback`;
  }, [title]);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return <h1 ref={heading} tabIndex={-1}>{children ?? title}</h1>;
};

export const Pager = ({ pages: { number, next, previous, data }, what }: {
  pages: { number: number; next: (() => void) | undefined; previous: (() => void) | undefined; data: { totalCount: number; items: readonly unknown[] } | undefined };
  what: string;
}) =>
  next === undefined && previous === undefined ? null : (
    <nav className="pager" aria-label={`Pages of ${what}`}>
      <button type="button" className="small" disabled={previous === undefined} onClick={previous}>Newer</button>
      <span>Page {number} · {data === undefined ? '' : `${total(data.totalCount)} ${what}`}</span>
      <button type="button" className="small" disabled={next === undefined} onClick={next}>Older</button>
    </nav>
  );

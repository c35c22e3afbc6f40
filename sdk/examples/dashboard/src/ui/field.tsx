import { type InputHTMLAttributes, type ReactNode, useId } from 'react';

/** A labelled input with what is to be known about it, and what is wrong with it. */
export const Field = ({ label, note, error, list, ...input }: {
  label: string; note?: ReactNode; error?: string | undefined; list?: readonly string[];
} & Omit<InputHTMLAttributes<HTMLInputElement>, 'list'>) => {
  const id = useId();
  const described = [note !== undefined && `${id}-note`, error !== undefined && `${id}-error`].filter(Boolean).join(' ');
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input id={id} aria-describedby={described || undefined} aria-invalid={error !== undefined || undefined} list={list && `${id}-list`} {...input} />
      {list && <datalist id={`${id}-list`}>{list.map((value) => <option key={value} value={value} />)}</datalist>}
      {note !== undefined && <p className="hint" id={`${id}-note`}>{note}</p>}
      {error !== undefined && <p className="wrong" id={`${id}-error`}>{error}</p>}
    </div>
  );
};

export const Check = ({ label, note, ...input }: { label: ReactNode; note?: ReactNode } & InputHTMLAttributes<HTMLInputElement>) => {
  const id = useId();
  return (
    <div className="check">
      <input type="checkbox" id={id} aria-describedby={note === undefined ? undefined : `${id}-note`} {...input} />
      <div>
        <label htmlFor={id}>{label}</label>
        {note !== undefined && <p className="hint" id={`${id}-note`}>{note}</p>}
      </div>
    </div>
  );
};

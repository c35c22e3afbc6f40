import { type KeyboardEvent, type ReactNode, useRef } from 'react';

export interface Tab {
  id: string;
  label: string;
}

const STEP: Readonly<Record<string, (at: number, of: number) => number>> = {
  ArrowRight: (at, of) => (at + 1) % of, ArrowLeft: (at, of) => (at + of - 1) % of, Home: () => 0, End: (_at, of) => of - 1,
};

/** One stop for the Tab key; the arrows, Home and End go from tab to tab (ARIA Authoring Practices, tabs with automatic activation). */
export const Tabs = ({ tabs, selected, onSelect, label, children }: { tabs: readonly Tab[]; selected: string; onSelect: (id: string) => void; label: string; children: ReactNode }) => {
  const list = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = STEP[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = tabs[step(tabs.findIndex(({ id }) => id === selected), tabs.length)];
    if (next === undefined) return;
    onSelect(next.id);
    list.current?.querySelector<HTMLElement>(`#tab-${next.id}`)?.focus();
  };
  return (
    <>
      <div role="tablist" aria-label={label} className="tabs" ref={list} onKeyDown={onKeyDown}>
        {tabs.map(({ id, label: text }) => (
          <button
            key={id} id={`tab-${id}`} role="tab" type="button" aria-selected={id === selected} aria-controls={id === selected ? `panel-${id}` : undefined}
            tabIndex={id === selected ? 0 : -1} onClick={() => onSelect(id)}
          >
            {text}
          </button>
        ))}
      </div>
      <section role="tabpanel" id={`panel-${selected}`} aria-labelledby={`tab-${selected}`} tabIndex={0}>{children}</section>
    </>
  );
};

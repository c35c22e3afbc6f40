import { useEffect, useState } from 'react';
import { SignIn } from './pages/sign-in.js';
import { InstancePage } from './pages/instance.js';
import { InstancesPage } from './pages/instances.js';
import { JobsPage } from './pages/jobs.js';
import { go, Link, usePath } from './router.js';
import { keptKey, session, SessionProvider, signIn, useSession } from './session.js';
import { useStore } from './store.js';
import { Empty, PageTitle } from './ui/bits.js';
import { Toasts } from './ui/toasts.js';
import { words } from './words.js';

const LINK = { connecting: ['busy', 'Connecting …'], live: ['good', 'Live'], lost: ['warn', 'Connection lost, trying again …'] } as const;

const LinkPill = () => {
  const { live } = useSession();
  const [tone, text] = LINK[useStore(live.link)];
  return <span className={`link-state ${tone}`} role="status"><span className="dot" aria-hidden="true" />{text}</span>;
};

const Header = ({ path }: { path: string }) => {
  const { viewer, end } = useSession();
  return (
    <header className="top">
      <a className="skip" href="#content" onClick={(event) => {
        event.preventDefault();
        document.getElementById('content')?.focus();
      }}>Skip to content</a>
      <Link to="/" className="brand"><img src="/dashboard/mark.svg" alt="" width="22" height="22" />Snapback</Link>
      <nav aria-label="Main">
        <Link to="/" aria-current={path === '/' || path.startsWith('/instances/') ? 'page' : undefined}>Servers</Link>
        <Link to="/jobs" aria-current={path === '/jobs' ? 'page' : undefined}>Activity</Link>
      </nav>
      <LinkPill />
      <div className="who">
        <span title={`Key “${viewer.keyName}” of project “${viewer.project.name}”`}><b>{viewer.keyName}</b> · {viewer.project.name} · {words(viewer.role)}</span>
        <button type="button" className="small" onClick={() => end()}>Sign out</button>
      </div>
    </header>
  );
};

const Page = ({ path }: { path: string }) => {
  const [, instanceId, tab = 'backups'] = /^\/instances\/([^/]+)(?:\/([a-z]+))?$/.exec(path) ?? [];
  if (path === '/') return <InstancesPage />;
  if (path === '/jobs') return <JobsPage />;
  if (instanceId !== undefined) return <InstancePage key={instanceId} id={instanceId} tab={tab} />;
  return (
    <>
      <PageTitle title="Not found" />
      <Empty title="There is no such page" action={<button type="button" className="primary" onClick={() => go('/')}>To the servers</button>} />
    </>
  );
};

const Shell = () => {
  const path = usePath();
  return (
    <>
      <Header path={path} />
      <main id="content" tabIndex={-1}><Page path={path} /></main>
      <Toasts />
    </>
  );
};

export const App = () => {
  const current = useStore(session);
  const [problem, setProblem] = useState<unknown>(undefined);
  const [restoring, setRestoring] = useState(keptKey() !== null);
  useEffect(() => {
    const key = keptKey();
    if (key !== null) signIn(key, { remember: true }).catch(setProblem).finally(() => setRestoring(false));
  }, []);
  if ('client' in current) return <SessionProvider value={current}><Shell /></SessionProvider>;
  if (restoring) return <p className="loading" role="status">Signing in …</p>;
  return <SignIn why={current.why} problem={problem} />;
};

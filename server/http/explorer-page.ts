/*
 * The page at `/`. It is public and holds nothing secret: it asks for an API key, keeps it in the tab's memory only, and hands it to the
 * explorer (Altair) as the header of its requests and the connection parameter of its subscriptions.
 */

/** @param nonce for the styles that the explorer adds at run time; new for every answer */
export const explorerPage = (nonce: string): string => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Snapback API explorer</title>
    <base href="/explorer/">
    <meta name="viewport" content="width=device-width,initial-scale=1">
    <link rel="icon" href="favicon.ico">
    <link rel="stylesheet" href="boot.css">
  </head>
  <body>
    <main id="sign-in">
      <h1>Snapback API explorer</h1>
      <p>Queries, mutations and live subscriptions of this service, with its documentation.</p>
      <form>
        <label for="key">API key</label>
        <input id="key" name="key" type="password" autocomplete="off" spellcheck="false" placeholder="sb_…" required autofocus>
        <button>Open</button>
        <p id="problem" role="alert"></p>
      </form>
      <p class="note">The first key was printed when the service first started, and stands in <code>admin-key</code> in its data folder.
      It is kept in this tab's memory only; reloading the page forgets it.</p>
    </main>
    <app-root hidden></app-root>
    <script type="module" src="boot.js" nonce="${nonce}"></script>
  </body>
</html>
`;

export const BOOT_CSS = `
#sign-in { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 12vh auto; padding: 0 1.5rem; color: #1c2733; }
#sign-in h1 { font-size: 1.6rem; margin: 0 0 .5rem; }
#sign-in label { display: block; font-weight: 600; margin-top: 1.5rem; }
#sign-in input { font: 15px ui-monospace, monospace; width: 100%; box-sizing: border-box; padding: .6rem .7rem; margin: .3rem 0 .8rem; border: 1px solid #8a97a5; border-radius: 6px; }
#sign-in button { font: inherit; font-weight: 600; padding: .55rem 1.4rem; border: 0; border-radius: 6px; background: #0b63ce; color: #fff; cursor: pointer; }
#sign-in button:disabled { opacity: .6; cursor: default; }
#sign-in input:focus-visible, #sign-in button:focus-visible { outline: 3px solid #7db4f5; outline-offset: 1px; }
#sign-in #problem { color: #b3261e; min-height: 1.5em; margin: .6rem 0; }
#sign-in .note { color: #52606d; font-size: .9rem; }
@media (prefers-color-scheme: dark) {
  body { background: #12181f; }
  #sign-in { color: #e4eaf0; }
  #sign-in input { background: #1c2530; color: inherit; }
  #sign-in .note { color: #9fb0c0; }
  #sign-in #problem { color: #ff8f86; }
}
`;

export const BOOT_JS = `
const nonce = document.querySelector('script[nonce]').nonce;
const section = document.getElementById('sign-in');
const form = section.querySelector('form');
const problem = document.getElementById('problem');
const button = form.querySelector('button');

const ask = async (key) => {
  const response = await fetch('/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer ' + key },
    body: JSON.stringify({ query: '{ viewer { keyName role project { name } } }' }),
  });
  const { data, errors } = await response.json();
  if (errors) throw new Error(errors[0].message);
  return data.viewer;
};

const OVERVIEW = \`# Everything that is protected, and how it stands.
query Overview {
  viewer { keyName role project { name } }
  instances(first: 20) {
    totalCount
    nodes {
      id
      name
      server { engine version keys usedMemoryBytes }
      capabilities { backup { possible reason } restore { possible reason } }
      policy { enabled startTime timeZone nextRunAt }
      latestBackup { id name sizeBytes completedAt }
      runningJob { id kind phase }
    }
  }
}
\`;

const BACK_UP = \`# Takes a backup now: put an instance's id below. Then follow its job in the next tab.
mutation BackUp($input: BackupNowInput!) {
  backupNow(input: $input) {
    backup { id state }
    job { id state }
    userErrors { code message field }
  }
}
\`;

const FEED = \`# Live: every change of every job. Start it, then take a backup in the tab before.
subscription Feed {
  jobEvents {
    kind
    at
    job { id kind state conclusion phase progress { bytesDone keysDone fraction remainingSeconds } failure { code message } }
  }
}
\`;

const open = async (key) => {
  const styles = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: 'styles.css' });
  document.head.append(styles);
  await import('./polyfills.js');
  await import('./main.js');
  section.remove();
  document.querySelector('app-root').hidden = false;
  const socket = (location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + '/graphql';
  const tab = (initialName, initialQuery, initialVariables = '{}') => ({
    initialName, initialQuery, initialVariables,
    endpointURL: location.origin + '/graphql',
    subscriptionsEndpoint: socket,
    initialHeaders: { Authorization: 'Bearer ' + key },
    initialSubscriptionRequestHandlerId: 'graphql-ws',
    initialSubscriptionsPayload: { authorization: 'Bearer ' + key },
  });
  const [first, ...others] = [
    tab('Overview', OVERVIEW),
    tab('Back up now', BACK_UP, JSON.stringify({ input: { instanceId: 'ins_…', name: 'before the upgrade' } }, null, 2)),
    tab('Live jobs', FEED),
  ];
  window.AltairGraphQL.init({ ...first, initialWindows: others, preserveState: false, disableAccount: true, cspNonce: nonce });
};

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const key = form.elements.key.value.trim();
  problem.textContent = '';
  button.disabled = true;
  try {
    await ask(key);
    await open(key);
  } catch (error) {
    problem.textContent = error.message;
    button.disabled = false;
  }
});
`;

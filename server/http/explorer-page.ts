/*
 * The page at `/`. It is public and holds nothing secret: it asks for an API key and keeps it in the tab's memory. The explorer (Altair)
 * writes all its state, headers included, to IndexedDB; so it never gets the key. The page adds it to what leaves for `/graphql`: as the
 * header of requests and as the connection parameter of sockets, unless the user has set one there.
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
app-banner-container, .query-result__none-subtext { display: none; }
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

// What an earlier visit left behind: results may hold download links.
indexedDB.deleteDatabase('AltairDB');

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

const BACK_UP = \`# Takes a backup now: put an instance's id into the variables. "Live jobs" shows how it goes.
mutation BackUp($input: BackupNowInput!) {
  backupNow(input: $input) {
    backup { id state }
    job { id state }
    userErrors { code message field }
  }
}
\`;

const FEED = \`# Live: every change of every job. Start it, then take a backup.
subscription Feed {
  jobEvents {
    kind
    at
    job { id kind state conclusion phase progress { bytesDone keysDone fraction remainingSeconds } failure { code message } }
  }
}
\`;

const carry = (authorization) => {
  const ours = (url) => new URL(url, location.href).href.startsWith(location.origin + '/graphql');

  const plainFetch = window.fetch;
  window.fetch = (input, init) => {
    const request = new Request(input, init);
    if (ours(request.url) && !request.headers.has('authorization')) request.headers.set('authorization', authorization);
    return plainFetch(request);
  };

  const { open, setRequestHeader, send } = XMLHttpRequest.prototype;
  const plain = new WeakSet();
  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    plain.delete(this);
    if (ours(url)) plain.add(this);
    return open.call(this, method, url, ...rest);
  };
  XMLHttpRequest.prototype.setRequestHeader = function (name, value) {
    if (name.toLowerCase() === 'authorization') plain.delete(this);
    return setRequestHeader.call(this, name, value);
  };
  XMLHttpRequest.prototype.send = function (body) {
    if (plain.has(this)) setRequestHeader.call(this, 'authorization', authorization);
    return send.call(this, body);
  };

  window.WebSocket = class extends WebSocket {
    send(data) {
      const message = typeof data === 'string' && new URL(this.url).host === location.host ? JSON.parse(data) : {};
      super.send(message.type === 'connection_init' ? JSON.stringify({ ...message, payload: { authorization, ...message.payload } }) : data);
    }
  };
};

const open = async (key) => {
  carry('Bearer ' + key);
  document.head.append(Object.assign(document.createElement('link'), { rel: 'stylesheet', href: 'styles.css' }));
  await import('./polyfills.js');
  await import('./main.js');
  section.remove();
  document.querySelector('app-root').hidden = false;
  const tab = (initialName, initialQuery, initialVariables = '{}') => ({
    initialName, initialQuery, initialVariables,
    endpointURL: location.origin + '/graphql',
    subscriptionsEndpoint: location.origin.replace(/^http/, 'ws') + '/graphql',
    initialSubscriptionRequestHandlerId: 'graphql-ws',
  });
  window.AltairGraphQL.init({
    ...tab('Query', ''),
    // The last one is shown first.
    initialWindows: [
      tab('Live jobs', FEED),
      tab('Back up now', BACK_UP, JSON.stringify({ input: { instanceId: 'ins_…', name: 'before the upgrade' } }, null, 2)),
      tab('Overview', OVERVIEW),
    ],
    initialSettings: { 'schema.reloadOnStart': true, 'alert.disableUpdateNotification': true, disablePushNotification: true },
    preserveState: false,
    disableAccount: true,
    cspNonce: nonce,
  });
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

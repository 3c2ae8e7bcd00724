import { createApi } from './api.js';
import { createClient } from './client.js';
import { clearSession, loadSession, onSessionChanged, saveSession } from './session.js';
import { renderAuth } from './views/auth.js';
import { renderShell } from './views/shell.js';
import { renderConnection, showBanner } from './views/connection.js';
import { notify } from './views/toast.js';

const RETRY_MS = [500, 1_000, 2_000, 4_000, 8_000];

const root = document.getElementById('app');
let client = null;

function showAuth(notice) {
  root.replaceChildren(renderAuth({ notice, onSignedIn: signedIn }));
  root.querySelector('input').focus();
}

function signedIn(session) {
  saveSession(session);
  showChats(session.token, session.user);
}

async function showChats(token, me) {
  client = createClient({ token, me, notify, onEnded: () => signOut('Your session has ended. Please log in again.') });
  const starting = client;
  const { element, stop } = renderShell(client, { onLogOut: logOut, onErased: () => signOut('Your account has been erased.') });
  const stopBanner = renderConnection(client);
  client.teardown = () => {
    stop();
    stopBanner();
  };
  root.replaceChildren(element);
  await untilReachable(() => starting === client && starting.start());
}

async function logOut() {
  client.api.post('/auth/logout').catch(() => {});
  client.outbox.clear();
  signOut();
}

function signOut(notice) {
  if (!client) return;
  client.stop();
  client.teardown();
  client = null;
  clearSession();
  document.querySelectorAll('dialog').forEach((dialog) => dialog.remove());
  history.replaceState(null, '', location.pathname + location.search);
  document.title = 'Messenger';
  showAuth(notice);
}

/** Runs a task again while the server can't be reached or asks to wait. */
async function untilReachable(task) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await task();
    } catch (problem) {
      if (problem.code === 'unauthenticated') throw problem;
      showBanner({ kind: 'lost', text: `${problem.message} Trying again…` });
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS[attempt] ?? 10_000));
    }
  }
}

async function start() {
  const session = loadSession();
  if (!session?.token) return showAuth();
  try {
    const me = await untilReachable(() => createApi(session.token).get('/users/me'));
    showBanner(null);
    await showChats(session.token, me);
  } catch (problem) {
    if (problem.code !== 'unauthenticated') throw problem;
    clearSession();
    showAuth('Your session has ended. Please log in again.');
  }
}

onSessionChanged(() => location.reload());
start();

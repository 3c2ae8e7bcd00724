import { Problem } from './api.js';

const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 10_000;
const OPEN_TIMEOUT_MS = 10_000;
const WATCH_EVERY_MS = 2_500;
/** A browser can't send WebSocket pings, so an idle connection is asked something to find out whether it is dead but open. Any answer will do. */
const PROBE_AFTER_MS = 25_000;
const SILENCE_LIMIT_MS = 10_000;
const CHATS_IN_A_PART = 500;
/** Why a connection was dropped that was not lost. */
const REOPENED = 'reopened';

/** Close codes that call for something else than a prompt new attempt. */
export const CLOSE = { SESSION_ENDED: 4001, TOO_MANY: 4029 };

/**
 * Keeps one connection open, over whatever `open` makes: opens it, resumes from the last position and revisions, and starts over when it is lost.
 *
 * `hooks`: `revisions()` gives `{ chatId: revision }`; `onEvent(method, params)`; `onStatus({ phase, reason })` with the phases
 * `connecting`, `resuming`, `online`, `lost` and `ended`; `checkSession()` rejects with `unauthenticated` if the session is over.
 */
export function createConnection({ open, token, hooks }) {
  let transport = null;
  let stopped = false;
  let attempt = 0;
  let phase = 'connecting';
  let wake = () => {};
  let drop = () => {};
  let heardAt = 0;
  let callsUnderWay = 0;
  /** The position at the end of the last resume, and the revisions of then. */
  let upToDate = null;

  function become(next, reason) {
    phase = next;
    if (!stopped) hooks.onStatus({ phase, reason });
  }

  async function run() {
    while (!stopped) {
      const reason = await serve();
      if (stopped) return;
      if (reason === REOPENED) {
        become('connecting');
        continue;
      }
      if (reason === CLOSE.SESSION_ENDED || (await sessionIsOver(reason))) return end();
      become('lost', reason);
      await pause(delayFor(reason));
    }
  }

  /** One connection's life; resolves to the code that it closed with, or a word for why it was dropped. */
  function serve() {
    return new Promise((resolve) => {
      let over = false;
      const finish = (reason) => {
        if (over) return;
        over = true;
        clearInterval(watch);
        transport?.close();
        transport = null;
        resolve(reason);
      };
      drop = finish;
      heardAt = Date.now();
      const watch = setInterval(() => checkAlive(finish), WATCH_EVERY_MS);
      open({ token, onEvent: receive, onActivity: () => (heardAt = Date.now()), onClose: finish }).then(
        (opened) => {
          if (over) return opened.close();
          transport = opened;
          become('resuming');
          resume().catch(() => finish('resumeFailed'));
        },
        () => finish('refused'),
      );
    });
  }

  /** Names what has changed since it was up to date the last time, and all chats only if there was no such time. */
  async function resume() {
    const known = hooks.revisions();
    // Without a position, one is told at the end.
    if (!upToDate) return resumeWith(Object.entries(known), { position: null });
    const { position, revisions } = upToDate;
    const told = Object.entries(known).filter(([id, revision]) => revisions[id] !== revision);
    const { changed, unknownPosition } = await resumeWith(told, { position });
    if (unknownPosition) return resumeWith(Object.entries(known), { position: null });
    if (changed) return resumeWith(changed.filter((id) => id in known).map((id) => [id, known[id]]));
  }

  /** One frame takes only so many chats, so the rest is named in parts before it. */
  async function resumeWith(chats, last = {}) {
    while (chats.length > CHATS_IN_A_PART) {
      await call('Resume', { chats: Object.fromEntries(chats.splice(0, CHATS_IN_A_PART)), more: true });
    }
    return call('Resume', { chats: Object.fromEntries(chats), ...last });
  }

  function receive(method, params) {
    hooks.onEvent(method, params);
    if (method === 'caughtUp') upToDate = params.position ? { position: params.position, revisions: hooks.revisions() } : null;
    if (method === 'caughtUp' && phase === 'resuming') {
      attempt = 0;
      become('online');
    }
  }

  function checkAlive(finish) {
    const silentFor = Date.now() - heardAt;
    if (!transport && silentFor > OPEN_TIMEOUT_MS) finish('silent');
    else if ((callsUnderWay > 0 || phase === 'resuming') && silentFor > SILENCE_LIMIT_MS) finish('silent');
    else if (phase === 'online' && callsUnderWay === 0 && silentFor > PROBE_AFTER_MS) call('Ping').catch(() => {});
  }

  async function call(method, params) {
    if (!transport) throw new Problem({});
    // The limit of silence counts from the question, not from the last frame of a quiet hour.
    if (callsUnderWay === 0) heardAt = Date.now();
    callsUnderWay += 1;
    try {
      return await transport.request(method, params);
    } finally {
      callsUnderWay -= 1;
    }
  }

  /** A refused handshake has no status code in a browser, so the question is put to REST. */
  async function sessionIsOver(reason) {
    if (reason !== 'refused') return false;
    return hooks.checkSession().then(() => false, (problem) => problem.code === 'unauthenticated');
  }

  function delayFor(reason) {
    const base = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
    attempt += 1;
    const jittered = base * (0.5 + Math.random() / 2);
    return reason === CLOSE.TOO_MANY ? Math.max(jittered, 5_000) : jittered;
  }

  function pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  function end() {
    become('ended');
    stop();
  }

  const onOnline = () => wake();
  const onOffline = () => drop('offline');
  const onVisible = () => {
    if (document.visibilityState !== 'visible') return;
    if (phase === 'lost') wake();
    else if (phase === 'online') call('Ping').catch(() => {});
  };

  function stop() {
    stopped = true;
    removeEventListener('online', onOnline);
    removeEventListener('offline', onOffline);
    document.removeEventListener('visibilitychange', onVisible);
    drop('stopped');
    wake();
  }

  return {
    start() {
      addEventListener('online', onOnline);
      addEventListener('offline', onOffline);
      document.addEventListener('visibilitychange', onVisible);
      become('connecting');
      run();
    },
    stop,
    retryNow: () => wake(),
    /** Starts over at once, with what `open` makes now. */
    reopen() {
      attempt = 0;
      drop(REOPENED);
      wake();
    },
    get isOnline() {
      return phase === 'online';
    },
    /** Asks over the socket; rejects at once with the code `network` while it is not up. */
    async request(method, params) {
      if (phase !== 'online') throw new Problem({});
      return call(method, params);
    },
  };
}

import { el } from '../dom.js';
import { plural } from '../text.js';
import { CLOSE } from '../connection.js';

const NOTICE_MS = 4_000;

/** Says that the connection is lost, and what happened meanwhile once it is back. Returns a function that stops it. */
export function renderConnection(client) {
  let timer = null;

  function update() {
    const { phase, reason, wasLost, missed } = client.state.connection;
    clearTimeout(timer);
    if (phase === 'lost') return showBanner({ kind: 'lost', text: lostText(reason), action: ['Try now', client.connection.retryNow] });
    if (phase === 'connecting' || wasLost) return;
    if (phase !== 'online' || missed === null) return showBanner(null);
    showBanner({ kind: 'restored', text: backText(missed) });
    timer = setTimeout(() => showBanner(null), NOTICE_MS);
  }

  const stop = client.state.on('connection', update);
  return () => {
    clearTimeout(timer);
    showBanner(null);
    stop();
  };
}

export function showBanner(banner) {
  const place = document.getElementById('connection');
  if (!banner) return place.replaceChildren();
  const { kind, text, action } = banner;
  // The same text again would be announced again at every attempt.
  if (place.firstChild?.dataset.text === text) return;
  place.replaceChildren(
    el(
      'div',
      { class: `banner ${kind}`, 'data-kind': kind, 'data-text': text },
      el('span', {}, text),
      action && el('button', { type: 'button', class: 'link', onclick: action[1] }, action[0]),
    ),
  );
}

function lostText(reason) {
  if (reason === CLOSE.TOO_MANY) return 'Too many requests. Waiting a moment… your messages are kept.';
  return 'Connection lost. Reconnecting… your messages are kept.';
}

function backText(missed) {
  if (missed === 0) return 'Back online. Nothing was missed.';
  return `Back online. ${plural(missed, 'message')} arrived while you were away.`;
}

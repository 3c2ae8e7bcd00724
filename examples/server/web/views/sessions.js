import { el } from '../dom.js';
import { since } from '../time.js';

/** The sessions of one's account, each of which can be ended. */
export function renderSessions(client) {
  const list = el('ul', { class: 'sessions', 'aria-label': 'Sessions' });
  const stop = client.state.on('sessions', load);

  async function load() {
    // The dialog has gone: nobody looks at the list any more.
    if (list.dataset.shown && !list.isConnected) return stop();
    try {
      const items = await client.api.all('/auth/sessions');
      list.replaceChildren(...items.map(row));
      list.dataset.shown = 'true';
    } catch (problem) {
      list.replaceChildren(el('li', { class: 'error' }, problem.message));
    }
  }

  function row(session) {
    const name = session.device || 'Unknown device';
    return el(
      'li',
      { class: 'session', 'data-session-id': session.id },
      el('div', {}, el('p', {}, name), el('p', { class: 'hint' }, session.current ? 'This one' : `Last used ${since(session.lastUsedAt)}`)),
      !session.current && el('button', { type: 'button', class: 'button small', 'aria-label': `Log out ${name}`, onclick: () => revoke(session) }, 'Log out'),
    );
  }

  async function revoke({ id }) {
    await client.api.delete(`/auth/sessions/${id}`).catch((problem) => client.notify(problem.message));
    load();
  }

  load();
  return list;
}

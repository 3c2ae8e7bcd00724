import { el } from '../dom.js';
import { avatar } from './avatar.js';
import { moveFocus } from './keys.js';

/** People to choose from, as a list of buttons. */
export function peopleList(label, users, onChoose) {
  const list = el('ul', { class: 'people', 'aria-label': label, onkeydown: (event) => moveFocus(event, list, 'button') },
    users.map((user) => el('li', {}, el(
      'button',
      { type: 'button', class: 'person', 'data-user-id': user.id, onclick: () => onChoose(user) },
      avatar(user.id, user.displayName),
      personText(user),
    ))));
  return list;
}

export function personText(user, note) {
  return el(
    'span',
    { class: 'person-text' },
    el('span', { class: 'person-name' }, user.displayName, ' '),
    el('span', { class: 'person-username' }, `@${user.username}`, note && ` · ${note}`),
  );
}

const DELAY_MS = 200;

/** Looks for people as someone types; answers that were overtaken are dropped. */
export function createFinder({ api, state }, onFound) {
  let timer = null;
  let latest = 0;

  return function find(query) {
    clearTimeout(timer);
    const turn = ++latest;
    if (!query.trim()) return onFound([], '');
    timer = setTimeout(async () => {
      const result = await api.get('/users', { query: query.trim(), limit: 20 }).catch((problem) => ({ problem }));
      if (turn !== latest) return;
      const users = (result.items ?? []).filter((user) => user.id !== state.me.id);
      state.learnUsers(users);
      onFound(users, query, result.problem);
    }, DELAY_MS);
  };
}

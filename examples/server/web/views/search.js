import { el } from '../dom.js';
import { plural } from '../text.js';
import { avatar } from './avatar.js';
import { moveFocus } from './keys.js';
import { createFinder, peopleList } from './people-list.js';
import { chatHash } from './route.js';

/** One field that finds chats one is in and people to write to. Its results take the place of the chat list. */
export function renderSearch(client, { onShown }) {
  const { state, people } = client;
  const input = el('input', { type: 'search', 'aria-label': 'Find people and chats', placeholder: 'Find people and chats', autocomplete: 'off', spellcheck: 'false' });
  const summary = el('p', { class: 'visually-hidden', role: 'status' });
  const body = el('div', {});
  const results = el('div', { class: 'search-results', hidden: true, onkeydown: (event) => moveFocus(event, body, 'a, button') }, summary, body);
  const find = createFinder(client, show);

  function show(users, query, problem) {
    const chats = matching(query);
    const shown = query !== '';
    results.hidden = !shown;
    onShown(shown);
    summary.textContent = shown ? problem?.message ?? `${plural(chats.length, 'chat')} and ${plural(users.length, 'person', 'people')} found` : '';
    body.replaceChildren(
      ...(chats.length ? [el('h2', {}, 'Chats'), chatLinks(chats)] : []),
      ...(users.length ? [el('h2', {}, 'People'), peopleList('People', users, openDirect)] : []),
      ...(shown && !chats.length && !users.length ? [el('p', { class: 'list-empty' }, problem?.message ?? 'Nobody found by that name.')] : []),
    );
  }

  function matching(query) {
    const text = query.trim().toLowerCase();
    return text ? state.chatsByActivity().filter((entry) => people.chatTitle(entry)?.toLowerCase().includes(text)) : [];
  }

  function chatLinks(entries) {
    return el('ul', { class: 'people', 'aria-label': 'Matching chats' }, entries.map((entry) => {
      const title = people.chatTitle(entry);
      const link = el('a', { class: 'person', href: chatHash(entry.id), onclick: () => clear() }, avatar(entry.chat.peer?.id ?? entry.id, title), el('span', { class: 'person-name' }, title));
      return el('li', {}, link);
    }));
  }

  async function openDirect(user) {
    try {
      const chat = await client.api.post('/chats/direct', { userId: user.id });
      client.takeChat(chat);
      clear();
      location.hash = chatHash(chat.id);
    } catch (problem) {
      client.notify(problem.message);
    }
  }

  function clear() {
    input.value = '';
    find('');
  }

  input.addEventListener('input', () => find(input.value));
  input.addEventListener('keydown', (event) => {
    if (event.key === 'ArrowDown' || (event.key === 'Enter' && !event.isComposing)) {
      const first = body.querySelector('a, button');
      if (first) event.preventDefault();
      first?.focus();
    }
  });
  for (const element of [input, results]) {
    element.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || !input.value) return;
      event.preventDefault();
      clear();
      input.focus();
    });
  }

  return { input, results, stop: () => find('') };
}

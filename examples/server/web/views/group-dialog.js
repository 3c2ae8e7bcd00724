import { newClientId } from '../client-id.js';
import { el } from '../dom.js';
import { openDialog } from './dialog.js';
import { field, form } from './form.js';
import { createFinder, peopleList } from './people-list.js';
import { chatHash } from './route.js';

/** Makes a group: a name, and the people in it. */
export function openGroupDialog(client) {
  const chosen = new Map();
  // One id for the dialog: a second attempt after a lost answer finds the group that the first one made.
  const clientId = newClientId();

  const chips = el('ul', { class: 'chips', 'aria-label': 'Chosen people' });
  const found = el('div', {});
  const find = createFinder(client, (users, query, problem) => {
    const candidates = users.filter((user) => !chosen.has(user.id));
    found.replaceChildren(candidates.length ? peopleList('People found', candidates, choose) : el('p', { class: 'hint' }, query && (problem?.message ?? 'Nobody else found by that name.')));
  });
  const search = el('input', { type: 'search', id: 'group-people', placeholder: 'Name or username', autocomplete: 'off', spellcheck: 'false', oninput: () => find(search.value) });
  search.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' && event.key !== 'ArrowDown') return;
    event.preventDefault();
    found.querySelector('button')?.focus();
  });

  function choose(user) {
    chosen.set(user.id, user);
    search.value = '';
    find('');
    showChips();
    search.focus();
  }

  function showChips() {
    chips.replaceChildren(...[...chosen.values()].map((user) => el('li', {}, el(
      'button',
      {
        type: 'button',
        class: 'chip',
        'aria-label': `Take ${user.displayName} out`,
        onclick() {
          chosen.delete(user.id);
          showChips();
          search.focus();
        },
      },
      `${user.displayName} ×`,
    ))));
  }

  const dialog = openDialog({
    title: 'New group',
    content: [
      form({
        label: 'New group',
        fields: [
          field({ label: 'Group name', name: 'title', required: true, autocapitalize: 'sentences', autocomplete: 'off' }),
          el('div', { class: 'field' }, el('label', { for: 'group-people' }, 'Add people'), search, found, chips),
        ],
        submit: 'Create group',
        async onSubmit({ title }) {
          const chat = await client.api.post('/chats/group', { title, memberIds: [...chosen.keys()], clientId });
          client.takeChat(chat);
          dialog.close();
          location.hash = chatHash(chat.id);
        },
      }),
    ],
  });
}

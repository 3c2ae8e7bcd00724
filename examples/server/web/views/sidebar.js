import { el, icon, iconButton, setText } from '../dom.js';
import { avatar, updateAvatar } from './avatar.js';
import { renderChatList } from './chat-list.js';
import { openGroupDialog } from './group-dialog.js';
import { openProfileDialog } from './profile-dialog.js';
import { renderSearch } from './search.js';
import { renderTransportStatus } from './transport.js';

export function renderSidebar(client, { onLogOut, onErased }) {
  const { state } = client;
  const list = renderChatList(client);
  const search = renderSearch(client, { onShown: (shown) => (list.element.hidden = shown) });

  const myAvatar = avatar(state.me.id, state.me.displayName);
  const myName = el('span', { class: 'my-name' }, state.me.displayName);
  const profile = el(
    'button',
    { type: 'button', class: 'profile-button', 'aria-label': 'Profile and settings', title: 'Profile and settings', onclick: () => openProfileDialog(client, { onLogOut, onErased }) },
    myAvatar,
  );

  const transport = renderTransportStatus(client);
  const stop = state.on('me', () => {
    updateAvatar(myAvatar, state.me.displayName);
    setText(myName, state.me.displayName);
  });

  const element = el(
    'nav',
    { class: 'sidebar', 'aria-label': 'Chats' },
    el(
      'header',
      { class: 'sidebar-header' },
      profile,
      el('h1', {}, 'Messenger', myName),
      iconButton('group', 'New group', { onclick: () => openGroupDialog(client) }),
    ),
    el('div', { class: 'search', role: 'search' }, icon('search'), search.input),
    search.results,
    list.element,
    el('footer', { class: 'sidebar-footer' }, transport.element, el('a', { href: '/api/v1/docs' }, 'API')),
  );

  return {
    element,
    focusChat: list.focusChat,
    stop() {
      stop();
      transport.stop();
      list.stop();
      search.stop();
    },
  };
}

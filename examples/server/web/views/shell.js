import { el } from '../dom.js';
import { isAttended } from '../marks.js';
import { renderChat } from './chat.js';
import { chatIdOf } from './route.js';
import { renderSidebar } from './sidebar.js';

/** Somewhat longer than the marks of what one sees take. */
const READ_WITHIN_MS = 1_500;

/** The page for someone who is logged in: the list of chats and the open chat. The address tells which: `#/chat/<id>`. */
export function renderShell(client, { onLogOut, onErased }) {
  const { state } = client;
  const sidebar = renderSidebar(client, { onLogOut, onErased });
  const main = el('main', { class: 'main', tabindex: '-1' }, emptyState());
  const element = el('div', { class: 'shell', 'data-view': 'list' }, sidebar.element, main);
  let chat = null;
  let shownUnread = 0;
  let titleTimer = null;

  function route() {
    const wanted = chatIdOf(location.hash);
    // Until the list has come, no chat is known; the list's arrival routes again.
    const chatId = state.chats.has(wanted) ? wanted : null;
    element.dataset.view = chatId ? 'chat' : 'list';
    if (chatId === state.openChatId) return;
    chat?.stop();
    chat = null;
    client.typing.stopped();
    client.openChat(chatId);
    if (chatId) {
      chat = renderChat(client, state.openChat);
      main.replaceChildren(chat.element);
      chat.show();
    } else {
      main.replaceChildren(emptyState());
    }
  }

  /** What comes before someone's eyes is mostly read within a moment; until then it is no news. */
  function updateTitle() {
    if (isAttended() && unreadInAll() > shownUnread) titleTimer ??= setTimeout(showTitle, READ_WITHIN_MS);
    else showTitle();
  }

  function showTitle() {
    clearTimeout(titleTimer);
    titleTimer = null;
    shownUnread = unreadInAll();
    document.title = shownUnread ? `(${shownUnread}) Messenger` : 'Messenger';
  }

  function unreadInAll() {
    return [...state.chats.values()].filter((entry) => !entry.isMuted).reduce((sum, { chat: { me } }) => sum + me.unread, 0);
  }

  function closeOnEscape(event) {
    if (event.key !== 'Escape' || event.defaultPrevented || document.querySelector('dialog[open], [popover]:popover-open')) return;
    if (state.openChatId) leaveChat(state.openChatId);
  }

  function leaveChat(chatId) {
    location.hash = '#/';
    sidebar.focusChat(chatId);
  }

  addEventListener('hashchange', route);
  document.addEventListener('keydown', closeOnEscape);
  const stops = [state.on('chats', route), state.on('chats', updateTitle)];

  return {
    element,
    stop() {
      clearTimeout(titleTimer);
      removeEventListener('hashchange', route);
      document.removeEventListener('keydown', closeOnEscape);
      chat?.stop();
      sidebar.stop();
      stops.forEach((stop) => stop());
    },
  };
}

function emptyState() {
  return el(
    'div',
    { class: 'empty' },
    el('img', { src: '/assets/icon.svg', alt: '', width: 56, height: 56 }),
    el('h2', {}, 'No chat open'),
    el('p', {}, 'Choose a chat from the list, or look for someone to write to.'),
  );
}

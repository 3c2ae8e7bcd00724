import { el, icon, setAttributes, setText } from '../dom.js';
import { shortTime } from '../time.js';
import { plural, preview } from '../text.js';
import { avatar, updateAvatar } from './avatar.js';
import { moveFocus } from './keys.js';
import { chatHash } from './route.js';

/** The chats, newest activity first. Rows are kept and moved, so focus and scrolling stay. */
export function renderChatList(client) {
  const { state } = client;
  const rows = new Map();
  const list = el('ul', { class: 'chat-list', onkeydown: (event) => moveFocus(event, list, 'a') });
  const empty = el('p', { class: 'list-empty', hidden: true }, 'No chats yet. Look for someone above to start one.');
  const element = el('div', { class: 'chat-list-box' }, list, empty);

  function update() {
    const entries = state.chatsByActivity();
    for (const [chatId, row] of rows) {
      if (state.chats.has(chatId)) continue;
      row.element.remove();
      rows.delete(chatId);
    }
    entries.forEach((entry, at) => {
      if (!rows.has(entry.id)) rows.set(entry.id, createRow(client, entry));
      const row = rows.get(entry.id);
      row.update(entry);
      if (list.children[at] !== row.element) moveRow(list, row.element, list.children[at]);
    });
    empty.hidden = entries.length > 0 || state.connection.phase === 'connecting';
  }

  const stops = ['chats', 'users', 'presence', 'typing', 'connection'].map((topic) => state.on(topic, update));
  return {
    element,
    focusChat: (chatId) => rows.get(chatId)?.element.querySelector('a').focus(),
    stop: () => stops.forEach((stop) => stop()),
  };
}

/** A moved element loses the focus. */
function moveRow(list, element, before) {
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  list.insertBefore(element, before ?? null);
  focused?.focus({ preventScroll: true });
}

function createRow({ state, people }, { id, chat }) {
  const face = avatar(chat.peer?.id ?? id, people.chatTitle({ chat }), chat.kind === 'direct' ? { presence: false } : {});
  const title = el('span', { class: 'row-title' });
  const time = el('time', { class: 'row-time' });
  const text = el('span', { class: 'row-preview' });
  const muted = el('span', { class: 'row-muted', hidden: true }, icon('muted'));
  const badge = el('span', { class: 'badge' });
  const link = el('a', { href: chatHash(id), 'data-chat-id': id }, face,
    el('span', { class: 'row-line' }, title, muted, time),
    el('span', { class: 'row-line' }, text, badge));

  function update(entry) {
    const { lastMessage, peer, me } = entry.chat;
    const name = people.chatTitle(entry);
    const online = peer && state.presence.get(peer.id)?.online === true;
    const typing = people.typingNames(entry);
    const line = typing.length ? 'typing…' : previewOf(entry);
    const when = lastMessage ? shortTime(lastMessage.createdAt) : '';
    const isOpen = state.openChatId === entry.id;

    updateAvatar(face, name, online);
    setText(title, name);
    setText(time, when);
    setText(text, line);
    text.classList.toggle('is-typing', typing.length > 0);
    muted.hidden = !entry.isMuted;
    if (!badge.textContent) badge.classList.toggle('is-fresh', isOpen);
    setText(badge, me.unread ? (me.unread > 99 ? '99+' : String(me.unread)) : '');
    setAttributes(link, {
      'aria-current': isOpen ? 'page' : null,
      'data-unread': me.unread,
      'data-muted': entry.isMuted,
      'aria-label': [name, online && 'online', me.unread && plural(me.unread, 'unread message'), entry.isMuted && 'muted', line, when]
        .filter(Boolean)
        .join(', '),
    });
  }

  function previewOf(entry) {
    const { lastMessage, kind } = entry.chat;
    if (!lastMessage) return kind === 'group' ? plural(entry.chat.memberCount, 'member') : 'No messages yet';
    const line = preview(lastMessage, people.nameOrYou);
    if (lastMessage.kind === 'system') return line;
    if (lastMessage.senderId === state.me.id) return `You: ${line}`;
    return kind === 'group' ? `${people.name(lastMessage.senderId)}: ${line}` : line;
  }

  return { element: el('li', {}, link), update };
}

import { el, icon, iconButton, setText } from '../dom.js';
import { list, plural } from '../text.js';
import { since } from '../time.js';
import { avatar, updateAvatar } from './avatar.js';
import { renderComposer } from './composer.js';
import { openMembersDialog } from './members-dialog.js';
import { renderMessageList } from './message-list.js';

/** One open chat: its header, its messages and the field to write in. */
export function renderChat(client, entry) {
  const { state, people } = client;
  const isGroup = entry.chat.kind === 'group';

  const composer = renderComposer(client, entry, { onSent: () => messages.sent() });
  const messages = renderMessageList(client, entry, {
    onReply: composer.replyTo,
    onEdit: composer.edit,
    onEscape: composer.focus,
  });
  composer.onEditLast = messages.lastOwn;

  const face = avatar(entry.chat.peer?.id ?? entry.id, people.chatTitle(entry), isGroup ? {} : { presence: false });
  const title = el('h2', {}, people.chatTitle(entry));
  const subtitle = el('p', { class: 'subtitle' });
  const typingLine = el('p', { class: 'typing-line' });
  const details = isGroup ? 'Members' : 'Chat details';

  const element = el(
    'section',
    { class: 'chat', 'aria-label': `Chat: ${people.chatTitle(entry)}`, 'data-chat-id': entry.id },
    el(
      'header',
      { class: 'chat-header' },
      el('a', { class: 'icon-button back', href: '#/', 'aria-label': 'Back to chats' }, icon('back')),
      face,
      el('div', { class: 'chat-names' }, title, subtitle),
      iconButton(isGroup ? 'members' : 'info', details, { onclick: () => openMembersDialog(client, entry) }),
    ),
    messages.element,
    typingLine,
    composer.element,
  );

  function updateHeader() {
    const name = people.chatTitle(entry);
    const peer = entry.chat.peer && state.presence.get(entry.chat.peer.id);
    updateAvatar(face, name, peer?.online);
    setText(title, name);
    element.setAttribute('aria-label', `Chat: ${name}`);
    setText(subtitle, isGroup ? plural(entry.chat.memberCount, 'member') : presenceText(peer));
    subtitle.dataset.online = peer?.online === true;
  }

  function updateTyping() {
    const names = people.typingNames(entry);
    setText(typingLine, names.length ? `${list(names.slice(0, 3))} ${names.length === 1 ? 'is' : 'are'} typing…` : '');
  }

  // “5 minutes ago” grows old without any event.
  const clock = setInterval(updateHeader, 30_000);
  const stops = [
    ...['chats', 'users', 'presence', 'members'].map((topic) => state.on(topic, updateHeader)),
    ...['typing', 'users'].map((topic) => state.on(topic, updateTyping)),
  ];
  updateHeader();
  updateTyping();

  return {
    element,
    show() {
      messages.update();
      // On a touch screen the focus would raise the keyboard over what one came to read.
      if (matchMedia('(hover: hover)').matches) composer.focus();
    },
    stop() {
      clearInterval(clock);
      stops.forEach((stop) => stop());
      messages.stop();
      composer.stop();
    },
  };
}

function presenceText(presence) {
  if (!presence) return '';
  if (presence.online) return 'Online';
  return presence.lastSeenAt ? `Last seen ${since(presence.lastSeenAt)}` : 'Offline';
}

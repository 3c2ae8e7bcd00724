import { el } from '../dom.js';
import { confirmDialog } from './dialog.js';
import { moveFocus } from './keys.js';

/** What one can do with a message, as a menu beside it. */
export function createMessageMenu(client, entry, { onReply, onEdit }) {
  const { state } = client;
  const element = el('div', { class: 'menu', role: 'menu', popover: 'auto', 'aria-label': 'Message actions', onkeydown: (event) => moveFocus(event, element, '[role=menuitem]') });
  let button = null;

  function itemsFor(message) {
    const own = message.senderId === state.me.id;
    const mayDelete = own || ['owner', 'admin'].includes(entry.chat.me.role);
    return [
      ['Reply', () => onReply(message)],
      ['Copy text', () => copy(message.body)],
      own && ['Edit', () => onEdit(message)],
      mayDelete && ['Delete', () => remove(message), 'danger'],
    ].filter(Boolean);
  }

  function open(opener, message) {
    button = opener;
    element.replaceChildren(
      ...itemsFor(message).map(([label, run, kind = '']) =>
        el('button', { type: 'button', role: 'menuitem', class: `menu-item ${kind}`, onclick: () => choose(run) }, label)),
    );
    element.showPopover();
    place();
    element.firstChild.focus();
  }

  function choose(run) {
    element.hidePopover();
    run();
  }

  /** Below the button, or above it where there is no room; never beyond the edge. */
  function place() {
    const at = button.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = element;
    const below = at.bottom + 4;
    element.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
    element.style.top = `${below + height < innerHeight - 8 ? below : Math.max(8, at.top - height - 4)}px`;
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      client.notify('Copied.');
    } catch {
      client.notify('The browser did not allow copying.');
    }
  }

  async function remove(message) {
    const confirmed = await confirmDialog({ title: 'Delete message?', text: 'It is deleted for everyone in this chat.', action: 'Delete' });
    if (!confirmed) return;
    try {
      const tombstone = await client.api.delete(`/chats/${entry.id}/messages/${message.id}`);
      if (tombstone) client.takeIn(tombstone);
    } catch (problem) {
      client.notify(problem.message);
    }
  }

  return {
    element,
    onClick(event) {
      const opener = event.target.closest('.message-actions');
      const message = opener && entry.log.byId(opener.closest('article').dataset.messageId);
      if (message) open(opener, message);
    },
  };
}

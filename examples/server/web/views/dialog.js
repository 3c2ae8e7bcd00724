import { el, iconButton } from '../dom.js';

let lastId = 0;

/**
 * A modal dialog. The browser keeps the focus inside, closes it on Escape and gives the focus back.
 * `close()` closes it; `closed` resolves then.
 */
export function openDialog({ title, kind = 'card', content = [], onClose }) {
  const id = `dialog-${++lastId}`;
  const heading = el('h2', { id, tabindex: '-1' }, title);
  const body = el('div', { class: 'dialog-body' }, content);
  const dialog = el(
    'dialog',
    { class: `dialog ${kind}`, 'aria-labelledby': id },
    el('header', { class: 'dialog-header' }, heading, iconButton('close', 'Close', { onclick: () => dialog.close() })),
    body,
  );
  const opener = document.activeElement;
  const closed = new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      // What opened it may have been drawn anew meanwhile.
      if (opener?.isConnected) opener.focus();
      onClose?.();
      resolve();
    });
  });
  dialog.addEventListener('pointerdown', (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  (body.querySelector('[autofocus], input:not([type=checkbox])') ?? heading).focus();
  return { element: dialog, body, heading, close: () => dialog.close(), closed };
}

/** Asks before something that can't be taken back. Resolves to whether to go on. */
export async function confirmDialog({ title, text, action, danger = true }) {
  let confirmed = false;
  const dialog = openDialog({
    title,
    kind: 'small',
    content: [
      el('p', {}, text),
      el(
        'div',
        { class: 'dialog-actions' },
        el('button', { type: 'button', class: 'button', autofocus: true, onclick: () => dialog.close() }, 'Cancel'),
        el('button', {
          type: 'button',
          class: danger ? 'button danger' : 'button primary',
          onclick() {
            confirmed = true;
            dialog.close();
          },
        }, action),
      ),
    ],
  });
  await dialog.closed;
  return confirmed;
}

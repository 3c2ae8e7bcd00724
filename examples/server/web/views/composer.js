import { el, icon, iconButton, setText } from '../dom.js';
import { preview } from '../text.js';

const MAX_HEIGHT_PX = 180;

/** The field to write in. It sends a new message, a reply, or a change of an earlier message. */
export function renderComposer(client, entry, { onSent }) {
  const { people, outbox, typing } = client;
  let mode = { kind: 'new' };

  const input = el('textarea', { rows: 1, 'aria-label': 'Message', placeholder: 'Write a message', autocomplete: 'off', enterkeyhint: 'send', 'aria-describedby': 'composer-mode' });
  const send = el('button', { type: 'submit', class: 'send', 'aria-label': 'Send', title: 'Send' }, icon('send'));
  const modeTitle = el('strong', {});
  const modeText = el('span', { class: 'mode-text' });
  const modeBar = el('div', { class: 'composer-mode', id: 'composer-mode', hidden: true },
    el('div', {}, modeTitle, modeText),
    iconButton('close', 'Cancel', { onclick: () => leaveMode() }));
  const error = el('p', { class: 'error', role: 'alert' });
  const element = el('form', { class: 'composer', 'aria-label': 'Write a message' }, modeBar, error, el('div', { class: 'composer-row' }, input, send));

  const composer = {
    element,
    /** Gives the last message that one may edit; set by the chat. */
    onEditLast: () => null,
    focus: () => input.focus(),
    replyTo: (message) => enterMode({ kind: 'reply', message }, `Reply to ${people.nameOrYou(message.senderId)}`),
    edit: (message) => enterMode({ kind: 'edit', message, draft: input.value }, 'Edit message', message.body),
    stop() {
      entry.draft = mode.kind === 'edit' ? mode.draft : input.value;
    },
  };

  function enterMode(next, title, body) {
    if (mode.kind === 'edit') leaveMode();
    mode = next;
    setText(modeTitle, title);
    setText(modeText, preview(next.message, people.nameOrYou));
    modeBar.hidden = false;
    if (body !== undefined) setValue(body);
    input.focus();
  }

  function leaveMode() {
    if (mode.kind === 'edit') setValue(mode.draft ?? '');
    mode = { kind: 'new' };
    modeBar.hidden = true;
    error.textContent = '';
    input.focus();
  }

  function setValue(text) {
    input.value = text;
    fit();
  }

  function fit() {
    input.style.height = 'auto';
    input.style.height = `${Math.min(input.scrollHeight, MAX_HEIGHT_PX)}px`;
    element.classList.toggle('is-empty', input.value.trim() === '');
  }

  async function submit() {
    const body = input.value.trim();
    if (!body) return;
    typing.stopped();
    error.textContent = '';
    if (mode.kind === 'edit') return saveEdit(mode.message, body);
    outbox.add(entry.id, body, mode.kind === 'reply' ? mode.message.id : undefined);
    setValue('');
    leaveMode();
    onSent();
  }

  async function saveEdit(message, body) {
    if (body === message.body) return leaveMode();
    send.disabled = true;
    try {
      client.takeIn(await client.api.patch(`/chats/${entry.id}/messages/${message.id}`, { body }));
      leaveMode();
    } catch (problem) {
      error.textContent = `Not changed. ${problem.message}`;
    } finally {
      send.disabled = false;
    }
  }

  function onKey(event) {
    if (event.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      submit();
    } else if (event.key === 'Escape' && mode.kind !== 'new') {
      event.preventDefault();
      leaveMode();
    } else if (event.key === 'ArrowUp' && input.value === '' && mode.kind === 'new') {
      const last = composer.onEditLast();
      if (!last) return;
      event.preventDefault();
      composer.edit(last);
    }
  }

  element.addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  input.addEventListener('keydown', onKey);
  input.addEventListener('blur', () => typing.stopped());
  input.addEventListener('input', () => {
    fit();
    if (input.value.trim() === '') typing.stopped();
    else if (mode.kind !== 'edit') typing.typed(entry.id);
  });

  setValue(entry.draft);
  return composer;
}

import { el } from '../dom.js';
import { fullTime } from '../time.js';

const HOUR_MS = 3_600_000;
/** The contract has no “for ever”; this is far enough away. */
const FAR_FUTURE = '2100-01-01T00:00:00.000Z';

/** What one is told of a chat outside of it. */
export function renderNotifications(client, entry) {
  return el('section', { class: 'dialog-section', 'aria-label': 'Notifications' }, renderMute(client, entry), renderMail(client, entry));
}

/** Mail about what stays unread; muted chats have none in any case. */
function renderMail(client, entry) {
  const isWanted = () => entry.chat.me.notifications !== 'none';
  const id = `mail-of-${entry.id}`;
  const input = el('input', { type: 'checkbox', role: 'switch', id, checked: isWanted() });
  input.addEventListener('change', async () => {
    try {
      client.takeChat(await client.api.put(`/chats/${entry.id}/notifications`, { level: input.checked ? 'all' : 'none' }));
    } catch (problem) {
      client.notify(problem.message);
    }
    input.checked = isWanted();
  });
  return el('div', { class: 'switch' }, input, el('label', { for: id }, 'Mail me about this chat'));
}

/** Muting: no mail and no number in the title for this chat. */
function renderMute(client, entry) {
  const status = el('p', { class: 'hint', role: 'status' });
  const choices = [
    ['1 hour', () => inMs(HOUR_MS)],
    ['8 hours', () => inMs(8 * HOUR_MS)],
    ['Until I turn it on again', () => FAR_FUTURE],
  ];
  const select = el('select', { 'aria-label': 'Mute this chat' }, el('option', { value: '' }, 'Not muted'), choices.map(([label], at) => el('option', { value: at }, label)));

  function show() {
    const until = entry.isMuted ? entry.chat.me.mutedUntil : null;
    status.textContent = !until ? '' : until >= FAR_FUTURE.slice(0, 4) ? 'Muted' : `Muted until ${fullTime(until)}`;
  }

  select.addEventListener('change', async () => {
    const until = select.value === '' ? undefined : choices[select.value][1]();
    try {
      client.takeChat(await client.api.put(`/chats/${entry.id}/mute`, until ? { until } : {}));
    } catch (problem) {
      client.notify(problem.message);
    }
    show();
  });

  if (entry.isMuted) select.value = '2';
  show();
  return [el('h3', {}, 'Mute'), select, status];
}

const inMs = (ms) => new Date(Date.now() + ms).toISOString();

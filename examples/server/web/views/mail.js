import { el } from '../dom.js';
import { sendsMail } from '../mailing.js';
import { field, selectField } from './form.js';

/** Languages that mails are written in; people of others get English. */
const LANGUAGES = [['', 'As the server chooses'], ['en', 'English'], ['ru', 'Русский']];

/** What one wants to be told by mail: as fields of a form, and as a change of the account. */
export function mailFields({ notifications, language = '', timeZone = '' }) {
  const mail = el('input', { type: 'checkbox', role: 'switch', name: 'mail', id: 'profile-mail', checked: notifications.email, 'aria-describedby': 'profile-mail-hint' });
  const hint = el('p', { class: 'hint', id: 'profile-mail-hint' });
  sendsMail().then((sends) => {
    if (!sends) hint.textContent = 'This server sends no mail at present.';
  });
  const { from = '', to = '' } = notifications.quietHours ?? {};
  return [
    el('div', { class: 'switch' }, mail, el('label', { for: 'profile-mail' }, 'Mail me about messages that stay unread')),
    hint,
    selectField({ label: 'Language of mails', name: 'language', value: language, choices: withOwn(LANGUAGES, language) }),
    el('div', { class: 'pair' },
      field({ label: 'No mail from', name: 'from', type: 'time', value: from }),
      field({ label: 'until', name: 'to', type: 'time', value: to })),
    selectField({ label: 'Time zone', name: 'timeZone', value: timeZone || ownZone(), choices: withOwn(zones(), timeZone || ownZone()) }),
  ];
}

/** An empty text is none to the server, and so are hours from a minute up to the same one. */
export function mailChange({ mail, language, timeZone, from = '', to = '' }) {
  const quietHours = from || to ? { from, to } : { from: '00:00', to: '00:00' };
  return { language, timeZone, notifications: { email: mail, quietHours } };
}

const ownZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone ?? 'UTC';

const zones = () => [...new Set(['UTC', ...Intl.supportedValuesOf('timeZone')])].map((zone) => [zone, zone.replaceAll('_', ' ')]);

/** With what the person has, which another client may have set. */
const withOwn = (choices, own) => (choices.some(([value]) => value === own) ? choices : [...choices, [own, own]]);

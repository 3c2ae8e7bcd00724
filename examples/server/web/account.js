import { createApi } from './api.js';
import { el } from './dom.js';
import { field, form } from './views/form.js';

/** The page of a link in a mail. Opening it changes nothing, since programs open links in mails, too: a button does. */
const api = createApi();
const token = new URLSearchParams(location.search).get('token') ?? '';
// Out of the history, and of what is copied from the address bar.
history.replaceState(null, '', location.pathname);
const panel = el('div', { class: 'auth-panel' });

function show(title, lead, ...content) {
  document.title = `${title} · Messenger`;
  panel.replaceChildren(el('h1', { tabindex: '-1' }, title), el('p', { class: 'lead' }, lead), ...content);
  (panel.querySelector('input') ?? panel.querySelector('h1')).focus();
}

const toMessenger = (text) => el('p', { class: 'auth-switch' }, el('a', { class: 'link', href: '/' }, text));

function done(title, lead, answer) {
  show(title, lead, toMessenger(answer));
}

/** A link that is no good can only be asked for anew. */
async function use(action) {
  try {
    await action();
  } catch (problem) {
    if (!problem.errors?.some(({ pointer }) => pointer === '/token')) throw problem;
    done('This link no longer works', 'It was used already, has expired, or your account has changed since.', 'Ask for another one');
  }
}

function showReset() {
  show('Set a new password', 'You will be logged out everywhere else.', form({
    label: 'New password',
    fields: [field({ label: 'New password', name: 'new', type: 'password', required: true, autocomplete: 'new-password', hint: 'At least 8 characters' })],
    submit: 'Set password',
    onSubmit: (values) => use(async () => {
      await api.put('/auth/password/reset', { token, ...values });
      done('Your password is set', 'You can log in with it now.', 'Log in');
    }),
  }));
}

function showConfirm() {
  show('Confirm your address', 'Then mail reaches you, and you can set a new password if you forget yours.', form({
    label: 'Confirm address',
    fields: [],
    submit: 'Confirm',
    onSubmit: () => use(async () => {
      await api.post('/auth/email/confirm', { token });
      done('Your address is confirmed', 'Thank you.', 'Go to Messenger');
    }),
  }));
}

document.getElementById('app').replaceChildren(el(
  'main',
  { class: 'auth' },
  el('p', { class: 'brand' }, el('img', { src: '/assets/icon.svg', alt: '', width: 36, height: 36 }), 'Messenger'),
  panel,
));
if (location.pathname.endsWith('/reset-password')) showReset();
else showConfirm();

import { createApi } from '../api.js';
import { el } from '../dom.js';
import { sendsMail } from '../mailing.js';
import { field, form } from './form.js';

/** The page for someone who isn't logged in. */
export function renderAuth({ notice, onSignedIn }) {
  const api = createApi();
  const panel = el('div', { class: 'auth-panel' });

  const logIn = async (values) => onSignedIn(await api.post('/auth/login', { ...values, device: deviceName() }));
  const register = async (values) => onSignedIn(await api.post('/auth/register', { ...values, device: deviceName() }));

  function showLogIn(focus) {
    show(focus, 'Log in', 'Welcome back.', {
      label: 'Log in',
      fields: [
        field({ label: 'Username or email', name: 'login', autocomplete: 'username', required: true }),
        field({ label: 'Password', name: 'password', type: 'password', autocomplete: 'current-password', required: true }),
      ],
      submit: 'Log in',
      onSubmit: logIn,
    }, ['New here?', 'Create an account', showRegister]);
    sendsMail().then((sends) => sends && panel.querySelector('form[aria-label="Log in"]')?.after(forgotten()));
  }

  const forgotten = () =>
    el('p', { class: 'auth-switch' }, el('button', { type: 'button', class: 'link', onclick: () => showForgotten(true) }, 'Forgot your password?'));

  function showForgotten(focus) {
    show(focus, 'Forgot your password?', 'A link to set a new one is mailed to you.', {
      label: 'Forgotten password',
      fields: [field({ label: 'Email', name: 'email', type: 'email', autocomplete: 'email', required: true })],
      submit: 'Mail me a link',
      async onSubmit(values, element) {
        await api.post('/auth/password/reset', values);
        // The same for every address: nobody learns here who has an account.
        element.replaceWith(el('p', { role: 'status' }, `If ${values.email} belongs to an account, a mail is on its way. Its link works once, for 30 minutes.`));
      },
    }, ['Remembered it?', 'Log in', showLogIn]);
  }

  function showRegister(focus) {
    show(focus, 'Create your account', 'It takes a name, an address and a password.', {
      label: 'Create account',
      fields: [
        field({ label: 'Username', name: 'username', autocomplete: 'username', required: true, hint: '3 to 32 letters, digits, _ . or -' }),
        field({ label: 'Email', name: 'email', type: 'email', autocomplete: 'email', required: true }),
        field({ label: 'Display name (optional)', name: 'displayName', autocomplete: 'name', autocapitalize: 'words' }),
        field({ label: 'Password', name: 'password', type: 'password', autocomplete: 'new-password', required: true, hint: 'At least 8 characters' }),
      ],
      submit: 'Create account',
      onSubmit: register,
    }, ['Already have an account?', 'Log in instead', showLogIn]);
  }

  function show(focus, title, lead, options, [question, answer, other]) {
    panel.replaceChildren(
      el('h1', {}, title),
      el('p', { class: 'lead' }, lead),
      form(options),
      el('p', { class: 'auth-switch' }, `${question} `, el('button', { type: 'button', class: 'link', onclick: () => other(true) }, answer)),
    );
    if (focus) panel.querySelector('input').focus();
  }

  showLogIn(false);
  return el(
    'main',
    { class: 'auth' },
    el('p', { class: 'brand' }, el('img', { src: '/assets/icon.svg', alt: '', width: 36, height: 36 }), 'Messenger'),
    notice && el('p', { class: 'auth-notice', role: 'alert' }, notice),
    panel,
    el('p', { class: 'fine' }, el('a', { href: '/api/v1/docs' }, 'API')),
  );
}

/** A name by which one can tell one's sessions apart. */
function deviceName() {
  const agent = navigator.userAgent;
  const browser = ['Edg', 'Firefox', 'Chrome', 'Safari'].find((name) => agent.includes(name)) ?? 'Browser';
  const system = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS', 'Linux'].find((name) => agent.includes(name));
  return `${browser.replace('Edg', 'Edge')}${system ? ` on ${system}` : ''}`;
}

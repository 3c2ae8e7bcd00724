import { el } from '../dom.js';
import { sendsMail } from '../mailing.js';
import { confirmDialog, openDialog } from './dialog.js';
import { field, form } from './form.js';
import { mailChange, mailFields } from './mail.js';
import { renderSessions } from './sessions.js';
import { renderTransportChoice, renderTransportStatus } from './transport.js';

/** One's own account. */
export function openProfileDialog(client, { onLogOut, onErased }) {
  const { state, api } = client;
  const transport = renderTransportStatus(client, { role: 'status' });
  const confirmation = el('p', { class: 'hint', role: 'status', hidden: true });
  showConfirmation();

  const dialog = openDialog({
    title: 'Profile',
    onClose: transport.stop,
    content: [
      el('p', { class: 'hint' }, `Signed in as @${state.me.username}`),
      profileForm(),
      confirmation,
      section('Password', passwordForm()),
      section('Where you are logged in', renderSessions(client)),
      section('Connection', renderTransportChoice(client), transport.element),
      section('Leave', el('button', { type: 'button', class: 'button', onclick: onLogOut }, 'Log out'), eraseForm()),
    ],
  });

  /** Asks for a mail, where the address is not confirmed and the server sends any. */
  async function showConfirmation() {
    confirmation.hidden = state.me.emailConfirmed || !(await sendsMail());
    confirmation.replaceChildren(
      `${state.me.email} is not confirmed. `,
      el('button', {
        type: 'button',
        class: 'link',
        async onclick() {
          try {
            await api.post('/users/me/email/confirmation');
            confirmation.replaceChildren(`A link was mailed to ${state.me.email}, at most five minutes ago.`);
          } catch (problem) {
            client.notify(problem.message);
          }
        },
      }, 'Mail the link again'),
    );
  }

  function profileForm() {
    const { displayName, email } = state.me;
    return form({
      label: 'Profile',
      fields: [
        field({ label: 'Display name', name: 'displayName', value: displayName, required: true, autocomplete: 'name', autocapitalize: 'words' }),
        field({ label: 'Email', name: 'email', type: 'email', value: email, required: true, autocomplete: 'email' }),
        ...mailFields(state.me),
      ],
      submit: 'Save',
      async onSubmit(values) {
        state.me = await api.patch('/users/me', { displayName: values.displayName, email: values.email, ...mailChange(values) });
        state.learnUsers([state.me]);
        state.changed('me');
        showConfirmation();
        client.notify('Profile saved.');
      },
    });
  }

  function passwordForm() {
    return form({
      label: 'Change password',
      fields: [
        field({ label: 'Current password', name: 'current', type: 'password', required: true, autocomplete: 'current-password' }),
        field({ label: 'New password', name: 'new', type: 'password', required: true, autocomplete: 'new-password', hint: 'At least 8 characters. All other sessions end.' }),
      ],
      submit: 'Change password',
      kind: '',
      async onSubmit(values, element) {
        await api.put('/auth/password', values);
        element.reset();
        client.notify('Password changed.');
        client.state.changed('sessions');
      },
    });
  }

  function eraseForm() {
    const reveal = el('details', { class: 'erase' }, el('summary', {}, 'Erase account'), form({
      label: 'Erase account',
      kind: 'danger',
      fields: [
        el('p', {}, 'Your profile and what you wrote are erased for good. Nobody can undo this.'),
        field({ label: 'Password', name: 'password', type: 'password', required: true, autocomplete: 'current-password' }),
      ],
      submit: 'Erase my account',
      async onSubmit({ password }) {
        if (!(await confirmDialog({ title: 'Erase your account?', text: 'This can’t be undone.', action: 'Erase' }))) return;
        await client.erase(password);
        dialog.close();
        onErased();
      },
    }));
    return reveal;
  }
}

function section(title, ...content) {
  return el('section', { class: 'dialog-section', 'aria-label': title }, el('h3', {}, title), content);
}

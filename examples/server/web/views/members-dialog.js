import { el, hidden, iconButton } from '../dom.js';
import { timeOf } from '../time.js';
import { avatar } from './avatar.js';
import { confirmDialog, openDialog } from './dialog.js';
import { field, form } from './form.js';
import { renderNotifications } from './mute.js';
import { createFinder, peopleList, personText } from './people-list.js';

const RANK = { owner: 2, admin: 1, member: 0 };
const ROLE_NAMES = { owner: 'Owner', admin: 'Admin', member: 'Member' };

/** Who is in a chat and how far they have read; for those with the role for it, also the changing of it. */
export function openMembersDialog(client, entry) {
  const { state, api, people } = client;
  const isGroup = entry.chat.kind === 'group';
  const path = `/chats/${entry.id}`;
  const myRole = () => entry.chat.me.role;
  const mayManage = () => isGroup && RANK[myRole()] >= RANK.admin;

  const list = el('ul', { class: 'members', 'aria-label': 'Members' });
  const manage = el('div', { class: 'manage' });
  const dialog = openDialog({
    title: isGroup ? 'Members' : 'Chat details',
    kind: 'drawer',
    content: [list, manage, renderNotifications(client, entry), isGroup && leaveButton()].filter(Boolean),
    onClose: () => stops.forEach((stop) => stop()),
  });

  let shownList = '';
  let shownRole = null;

  function update() {
    if (!state.chats.has(entry.id)) return dialog.close();
    if (myRole() !== shownRole) {
      shownRole = myRole();
      manage.replaceChildren(...(mayManage() ? [renameForm(), addMembers()] : []));
    }
    const members = [...(entry.members?.values() ?? [])].sort(byRoleAndName);
    const facts = members.map((member) => [member, state.presence.get(member.user.id)?.online, readText(member), myRole()]);
    const signature = JSON.stringify(facts);
    if (signature === shownList) return;
    shownList = signature;
    const focused = document.activeElement?.dataset.focusKey;
    list.replaceChildren(...members.map(memberRow));
    if (focused) (list.querySelector(`[data-focus-key="${CSS.escape(focused)}"]`) ?? dialog.heading).focus();
  }

  function memberRow(member) {
    const { user, role } = member;
    const isMe = user.id === state.me.id;
    const online = state.presence.get(user.id)?.online === true;
    return el(
      'li',
      { class: 'member', 'data-user-id': user.id, 'data-role': role },
      avatar(user.id, user.displayName, isMe ? {} : { presence: online }),
      el('div', { class: 'member-text' }, personText(user, isMe && 'you'), online && hidden('online'), !isMe && el('p', { class: 'hint' }, readText(member))),
      isGroup && roleControl(member, isMe),
      isGroup && !isMe && RANK[myRole()] > RANK[role] && RANK[myRole()] >= RANK.admin &&
        iconButton('close', `Remove ${user.displayName}`, { 'data-focus-key': `remove-${user.id}`, onclick: () => remove(user) }),
    );
  }

  function roleControl({ user, role }, isMe) {
    if (myRole() !== 'owner' || isMe) return el('span', { class: 'role' }, ROLE_NAMES[role]);
    const select = el(
      'select',
      { 'aria-label': `Role of ${user.displayName}`, 'data-focus-key': `role-${user.id}` },
      Object.entries(ROLE_NAMES).reverse().map(([value, name]) => el('option', { value, selected: value === role }, name)),
    );
    select.addEventListener('change', async () => {
      if (!(await setRole(user, select.value))) select.value = role;
    });
    return select;
  }

  async function setRole(user, role) {
    if (role === 'owner') {
      const confirmed = await confirmDialog({ title: `Make ${user.displayName} the owner?`, text: 'A group has one owner. You will not be it any more.', action: 'Hand over' });
      if (!confirmed) return false;
    }
    return change(() => api.put(`${path}/members/${user.id}/role`, { role }));
  }

  async function remove(user) {
    const confirmed = await confirmDialog({ title: `Remove ${user.displayName}?`, text: 'They will no longer see this chat.', action: 'Remove' });
    if (confirmed) await change(() => api.delete(`${path}/members/${user.id}`));
  }

  async function change(request) {
    try {
      await request();
      await reload();
      return true;
    } catch (problem) {
      client.notify(problem.message);
      return false;
    }
  }

  async function reload() {
    entry.membersAreStale = true;
    await Promise.all([people.loadMembers(entry), api.get(path).then(client.takeChat)]);
  }

  function renameForm() {
    return form({
      label: 'Rename group',
      fields: [field({ label: 'Group name', name: 'title', value: entry.chat.title, required: true, autocapitalize: 'sentences' })],
      submit: 'Rename',
      kind: '',
      inline: true,
      onSubmit: async ({ title }) => client.takeChat(await api.patch(path, { title })),
    });
  }

  function addMembers() {
    const found = el('div', {});
    const find = createFinder(client, (users, query, problem) => {
      const candidates = users.filter((user) => !entry.members?.has(user.id));
      found.replaceChildren(
        candidates.length ? peopleList('People to add', candidates, add) : el('p', { class: 'hint' }, query && (problem?.message ?? 'Nobody else found by that name.')),
      );
    });
    const search = field({ label: 'Add people', name: 'query', type: 'search', placeholder: 'Name or username', oninput: (event) => find(event.target.value) });
    async function add(user) {
      if (!(await change(() => api.post(`${path}/members`, { userIds: [user.id] })))) return;
      const input = search.querySelector('input');
      input.value = '';
      find('');
      input.focus();
    }
    return el('div', { class: 'form' }, search, found);
  }

  function leaveButton() {
    const text = () => (myRole() === 'owner' && entry.chat.memberCount > 1
      ? 'You own this group. Leaving hands it over to the longest-standing admin, or else member.'
      : 'You will no longer see this chat.');
    return el('button', {
      type: 'button',
      class: 'button danger',
      async onclick() {
        if (!(await confirmDialog({ title: 'Leave this group?', text: text(), action: 'Leave' }))) return;
        await api.post(`${path}/leave`).catch((problem) => client.notify(problem.message));
      },
    }, 'Leave group');
  }

  function readText({ user, readSeq }) {
    if (user.id === state.me.id) return '';
    if (readSeq >= entry.chat.lastSeq) return 'Has read everything';
    const last = entry.log.items.findLast((message) => message.seq <= readSeq);
    return last ? `Has read up to ${timeOf(last.createdAt)}` : 'Has not read the latest messages';
  }

  const stops = ['members', 'marks', 'presence', 'chats'].map((topic) => state.on(topic, update));
  entry.membersAreStale = true;
  people.loadMembers(entry);
  update();
}

function byRoleAndName(a, b) {
  return RANK[b.role] - RANK[a.role] || a.user.displayName.localeCompare(b.user.displayName);
}

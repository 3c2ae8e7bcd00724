/** Names of people and chats, and who is in a chat. */
export function createPeople({ state, api, presence }) {
  function user(userId) {
    if (!state.users.has(userId)) {
      state.users.set(userId, null);
      api.get(`/users/${userId}`).then((found) => state.learnUsers([found]), () => {});
    }
    return state.users.get(userId);
  }

  const name = (userId) => {
    const found = user(userId);
    return found ? found.displayName || found.username : 'Someone';
  };

  return {
    user,
    name,
    isMe: (userId) => userId === state.me.id,
    nameOrYou: (userId) => (userId === state.me.id ? 'You' : name(userId)),

    chatTitle: ({ chat }) => (chat.kind === 'direct' ? name(chat.peer?.id ?? state.me.id) : chat.title),

    async loadMembers(entry) {
      if (!entry.membersAreStale) return;
      entry.membersAreStale = false;
      try {
        const members = await api.all(`/chats/${entry.id}/members`);
        entry.members = new Map(members.map((member) => [member.user.id, keepMarks(member, entry.members)]));
        state.learnUsers(members.map((member) => member.user));
      } catch {
        entry.membersAreStale = true;
      }
      if (entry.id === state.openChatId) presence.update();
      state.changed('members', 'marks');
    },

    /** How far the others have come with a message: `{ state: 'sent' | 'delivered' | 'read', read, others }`. */
    progress(entry, seq) {
      const others = [...(entry.members?.values() ?? [])].filter((member) => member.user.id !== state.me.id);
      const read = others.filter((member) => member.readSeq >= seq).length;
      const delivered = others.filter((member) => member.deliveredSeq >= seq).length;
      const all = others.length > 0;
      if (all && read === others.length) return { state: 'read', read, others: others.length };
      return { state: all && delivered === others.length ? 'delivered' : 'sent', read, others: others.length };
    },

    typingNames: (entry) => [...entry.typing.keys()].map(name),
  };
}

/** Marks only move forward, and an event may have overtaken the list. */
function keepMarks(member, known) {
  const before = known?.get(member.user.id);
  if (!before) return member;
  return {
    ...member,
    readSeq: Math.max(member.readSeq, before.readSeq),
    deliveredSeq: Math.max(member.deliveredSeq, before.deliveredSeq),
  };
}

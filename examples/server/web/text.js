/** A system message as a sentence. `nameOf(userId)` gives a name, or “You”. */
export function systemSentence(message, nameOf) {
  if (message.deletedAt) return 'No longer kept';
  const { event, userIds = [], title, role, retention } = message.system ?? {};
  const more = message.truncated ? ['others'] : [];
  const actor = message.senderId ? nameOf(message.senderId) : 'Someone';
  const others = list([...userIds.map(nameOf).map(asObject), ...more]);
  switch (event) {
    case 'created':
      return `${actor} created the group${title ? ` “${title}”` : ''}`;
    case 'membersAdded':
      return `${actor} added ${others}`;
    case 'membersRemoved':
      return `${actor} removed ${others}`;
    case 'memberLeft':
      return `${actor} left the group`;
    case 'titleChanged':
      return `${actor} renamed the group to “${title}”`;
    case 'roleChanged':
      return role === 'owner' ? `${actor} made ${others} the owner` : `${actor} made ${others} ${article(role)}`;
    case 'retentionChanged':
      return retention ? `${actor} lets messages be kept for ${span(retention)}` : `${actor} lets messages be kept`;
    default:
      return 'The chat was updated';
  }
}

/** The one-line preview of a message. */
export function preview(message, nameOf) {
  if (message.deletedAt) return 'Message deleted';
  if (message.kind === 'system') return systemSentence(message, nameOf);
  return message.body.replace(/\s+/g, ' ');
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

export function list(names) {
  if (names.length < 2) return names.join('');
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

const URL_PATTERN = /https?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]}]/g;

/** Cuts text into `{ text }` and `{ text, url }` parts. */
export function splitLinks(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(URL_PATTERN)) {
    if (match.index > end) parts.push({ text: text.slice(end, match.index) });
    parts.push({ text: match[0], url: match[0] });
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}

/** Seconds in the largest unit that fits. */
function span(seconds) {
  const units = [[86400, 'day'], [3600, 'hour'], [60, 'minute']];
  const [size, name] = units.find(([size]) => seconds % size === 0) ?? [1, 'second'];
  return plural(seconds / size, name);
}

const asObject = (name) => (name === 'You' ? 'you' : name);

function article(role) {
  return /^[aeiou]/.test(role) ? `an ${role}` : `a ${role}`;
}

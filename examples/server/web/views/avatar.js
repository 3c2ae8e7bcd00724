import { el, setAttributes } from '../dom.js';

const COLOURS = 8;

/** Initials on a colour that stays the same for an id. Decorative: the name stands beside it. */
export function avatar(id, name, { presence } = {}) {
  const element = el('span', { class: `avatar avatar-${colourOf(id)}`, 'aria-hidden': 'true' }, initials(name));
  if (presence !== undefined) element.append(el('span', { class: 'presence', 'data-online': presence ? 'true' : 'false' }));
  return element;
}

export function updateAvatar(element, name, presence) {
  const text = element.firstChild;
  if (text.data !== initials(name)) text.data = initials(name);
  const dot = element.querySelector('.presence');
  if (dot) setAttributes(dot, { 'data-online': presence ? 'true' : 'false' });
}

function initials(name) {
  const words = name.trim().split(/\s+/);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => [...word][0] ?? '?').join('').toUpperCase();
}

function colourOf(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.codePointAt(0)) >>> 0;
  return sum % COLOURS;
}

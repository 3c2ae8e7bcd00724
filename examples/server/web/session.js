const KEY = 'messenger.session';

/** The signed-in session of this browser, shared by its tabs: `{ token, user }`. */
export function loadSession() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null;
  }
}

export function saveSession({ token, user }) {
  localStorage.setItem(KEY, JSON.stringify({ token, user: { id: user.id } }));
}

export function clearSession() {
  localStorage.removeItem(KEY);
}

/** Calls back when another tab has logged in or out. */
export function onSessionChanged(callback) {
  addEventListener('storage', (event) => {
    if (event.key === KEY || event.key === null) callback();
  });
}

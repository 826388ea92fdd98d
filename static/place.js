// Before the first paint, so that nothing moves: a new conversation looks different from one that is there.
document.documentElement.classList.toggle('fresh', location.pathname === '/');

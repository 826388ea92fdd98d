// Before the first paint, so that nothing moves: a new conversation looks different from one that is there.
document.documentElement.classList.toggle('fresh', `${location.pathname.replace(/\/$/, '')}/` === new URL(/** @type {HTMLScriptElement} */ (document.currentScript).src).pathname.split('static/')[0]);

-- Who may do what: API keys, the browser sessions and one-time tickets that are made from them, and
-- which key asked for a generation. Only hashes are stored: who reads this database gets no key.

-- A key is 256 random bits, so one round of SHA-256 hides it; a slow hash would only be slow.
create table keys (
    id           uuid primary key,
    name         text not null,
    tenant       text not null,
    digest       bytea not null unique,
    hint         text not null, -- how it begins, for people who look for it
    scopes       text[] not null,
    limits       json not null default '{}',
    created_at   timestamptz not null default clock_timestamp(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

-- A browser that signed in with a key. It ends with its key.
create table sessions (
    digest     bytea primary key,
    key_id     uuid not null references keys on delete cascade,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null
);
create index sessions_by_key on sessions (key_id);

-- What a page of another origin connects with, once: it stands for the key or the session, by its
-- hash, that it was asked for with; for nobody's on a server that is open.
-- Unlogged: a ticket lives for seconds, and a crash may as well end it.
create unlogged table tickets (
    digest     bytea primary key,
    credential bytea,
    expires_at timestamptz not null
);

-- Which key asked, to count what it has running.
alter table generations add column key_id uuid;
create index generations_running_by_key on generations (key_id)
    where key_id is not null and status in ('queued', 'running', 'cancelling');

-- What all instances sign with that clients carry back unread: thinking blocks of Anthropic's protocol.
-- One row, made by the first instance that starts. It opens nothing.
create table signing_key (
    only_one   boolean primary key default true check (only_one),
    key        bytea not null check (octet_length(key) = 32),
    created_at timestamptz not null default clock_timestamp()
);

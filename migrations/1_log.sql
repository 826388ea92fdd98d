-- The durable log: generations, their events, and the instances that own them.
-- Every row carries its tenant; every generation its owner and epoch, so that keys and many
-- instances on one database need no rewrite.

-- A running server process. Its lease, by this database's clock, says that it is alive.
create table instances (
    id          uuid primary key,
    started_at  timestamptz not null default clock_timestamp(),
    lease_until timestamptz not null
);

-- One prompt's run. The answer's columns are written once, with the `done` event.
create table generations (
    id                     uuid primary key,
    tenant                 text not null,
    status                 text not null default 'queued' check (status in
        ('queued', 'running', 'cancelling',
         'completed', 'incomplete', 'failed', 'interrupted', 'cancelled')),
    model                  text not null,
    provider               text not null,
    request                json not null,
    idempotency_key        text,
    fingerprint            bytea,
    owner                  uuid not null,
    epoch                  integer not null default 1,
    cancel_requested_at    timestamptz,
    created_at             timestamptz not null default clock_timestamp(),
    started_at             timestamptz,
    finished_at            timestamptz,
    time_to_first_token_ms double precision,
    text                   text,
    reasoning              text,
    refusal                text,
    tool_calls             json,
    done                   json,
    attempts               integer,
    last_seq               bigint
) with (fillfactor = 80); -- room for the status changes of a row to stay on its page

-- Lists are newest first, per tenant; ids are UUIDv7, so they sort by time.
create index generations_by_tenant on generations (tenant, id desc);
-- The same key never starts two generations.
create unique index generations_idempotency on generations (tenant, idempotency_key)
    where idempotency_key is not null;
-- What take-over looks through.
create index generations_unfinished on generations (owner)
    where status in ('queued', 'running', 'cancelling');

-- One event a row, readable: select seq, type, data from events where generation_id = '…' order by seq.
-- The primary key is the fence: an owner that was taken over collides with its successor's first event.
-- `json` and not `jsonb`: it keeps the text as it was written, so every reader gets the same bytes.
-- Partitioned by the day in the UUIDv7, so that old events go by dropping a table.
create table events (
    generation_id uuid not null,
    seq           bigint not null check (seq > 0),
    epoch         integer not null,
    tenant        text not null,
    type          text not null,
    data          json not null,
    at            timestamptz not null default now(),
    primary key (generation_id, seq)
) partition by range (generation_id);

-- One ending, whatever a program does.
create unique index events_one_ending on events (generation_id) where type = 'done';

-- Catches what no day's partition takes, so that an append never fails for want of one.
create table events_other partition of events default;

-- The least UUIDv7 of a day (UTC).
create function first_uuid_of_day(day date) returns uuid
language sql immutable strict
return (lpad(to_hex((extract(epoch from day) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

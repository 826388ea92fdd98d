-- Conversations: messages as trees, so that an edit or a second answer overwrites nothing, and
-- read-only links to a branch. An answer's message is written in the transaction of its
-- generation's `done`; what else there is to say of it stays in the generation's row.

create table conversations (
    id          uuid primary key,
    tenant      text not null,
    title       text,
    system      text,
    metadata    json not null default '{}',
    -- The message that the active branch ends in; null for the empty branch.
    active_leaf uuid,
    created_at  timestamptz not null default clock_timestamp(),
    updated_at  timestamptz not null default clock_timestamp()
);

-- Lists are by the last change, newest first, per tenant; the id makes the order total.
create index conversations_by_update on conversations (tenant, updated_at desc, id desc);

-- `text` is what the model gets and what is searched; `content` is there only where a client gave
-- parts. An answer's id is its generation's. No foreign key on `parent_id`: every insert of an
-- answer, which is in the append path, would look it up.
create table messages (
    id              uuid primary key,
    tenant          text not null,
    conversation_id uuid not null references conversations (id) on delete cascade,
    parent_id       uuid,
    role            text not null check (role in ('system', 'developer', 'user', 'assistant')),
    content         json,
    text            text not null,
    created_at      timestamptz not null default clock_timestamp()
);

create index messages_by_conversation on messages (conversation_id);
-- Siblings, those without a parent too.
create index messages_by_parent on messages (coalesce(parent_id, conversation_id), id);
-- Search by words. A tsvector has at most 1 MiB, and an answer may be longer: it is found by its
-- first 20,000 characters.
create index messages_by_words on messages using gin (to_tsvector('simple', left(text, 20000)));

-- A read-only link shows the branch that ends in `leaf`, which no later message changes.
create table shares (
    token_hash      bytea primary key,
    tenant          text not null,
    conversation_id uuid not null references conversations (id) on delete cascade,
    leaf            uuid,
    created_at      timestamptz not null default clock_timestamp()
);

create index shares_by_conversation on shares (conversation_id);

-- The conversation of a generation, and the user's message that it answers.
alter table generations add column conversation_id uuid, add column parent_id uuid;

create index generations_by_conversation on generations (conversation_id, id desc)
    where conversation_id is not null;
-- Is the branch busy? Asked with every start.
create index generations_answering on generations (conversation_id, parent_id)
    where conversation_id is not null and status in ('queued', 'running', 'cancelling');

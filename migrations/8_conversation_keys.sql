-- A conversation is opened once, however often its opening is sent: the client's key and a hash of
-- what it asked, as for generations. The key goes with its conversation.

alter table conversations add column idempotency_key text, add column fingerprint bytea;

create unique index conversations_by_key on conversations (tenant, idempotency_key)
    where idempotency_key is not null;

-- People send pictures. Each is kept once for a tenant, by the hash of its bytes, whatever sends it again. Messages and
-- requests name it, and an erased message takes the pictures along that nobody else names.

create table pictures (
    tenant     text not null,
    hash       bytea not null check (octet_length(hash) = 32),
    media_type text not null check (media_type in ('image/png', 'image/jpeg', 'image/webp', 'image/gif')),
    bytes      bytea not null,
    -- When it was last sent here: one that no message names is for a message that is still being written.
    sent_at    timestamptz not null default clock_timestamp(),
    primary key (tenant, hash)
);

-- Pictures are compressed already.
alter table pictures alter column bytes set storage external;

-- Who names a picture: a message, or a generation outside of all conversations.
create table picture_uses (
    tenant        text not null,
    hash          bytea not null,
    message_id    uuid references messages (id) on delete cascade,
    generation_id uuid references generations (id) on delete cascade,
    foreign key (tenant, hash) references pictures (tenant, hash),
    check ((message_id is null) <> (generation_id is null))
);

create index picture_uses_by_picture on picture_uses (tenant, hash);
create unique index picture_uses_by_message on picture_uses (message_id, hash) where message_id is not null;
create unique index picture_uses_by_generation on picture_uses (generation_id, hash) where generation_id is not null;

-- A picture goes with the last message that names it, however that message goes. One that is named at this very moment stays:
-- the upkeep looks again.
create function forget_picture() returns trigger language plpgsql as $$
begin
    delete from pictures where (tenant, hash) in (
        select p.tenant, p.hash from pictures p where p.tenant = old.tenant and p.hash = old.hash
        and not exists (select from picture_uses u where u.tenant = p.tenant and u.hash = p.hash)
        for update skip locked);
    return null;
exception when foreign_key_violation then
    return null;
end $$;

create trigger picture_uses_forget after delete on picture_uses for each row execute function forget_picture();

-- A dialect's client knows its generation by the name of its chat only: the newest of that name is
-- looked up on every reload of its page, on any instance. The name is in the request, so that it is
-- stored with its generation, in one commit.
create index generations_by_chat on generations (tenant, (request ->> 'chat'), id desc)
    where request ->> 'chat' is not null;

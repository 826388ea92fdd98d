-- OpenAI's Conversations keep more than texts: calls of tools, their results, pictures. `said` has such a message whole, as a
-- model is told it; it is null where role and text say all, as in every row from before.
alter table messages add column said json;

-- A tool's result is a message of its own. `not valid` spares the check of older rows, none of which has the new role.
alter table messages drop constraint messages_role_check;
alter table messages add constraint messages_role_check
    check (role in ('system', 'developer', 'user', 'assistant', 'tool')) not valid;

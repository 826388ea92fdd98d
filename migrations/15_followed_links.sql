-- A link follows the answer that was being made when the link was made. Links of before have none, and show what they showed.

alter table shares add column generation_id uuid;

-- A link may show later turns, where its maker chose so: those below this message that were asked for after the link
-- was made. Null: it shows none. A version before this one does not know the column, and shows the branch of the making.

alter table shares add column later_below uuid;

-- A message is the one field `m` of its stream item: ROLE TOKENS ' ' ID \n BODY. The role is a letter,
-- the id '' for none.

-- Role, tokens and id of a message, given its text.
local function message_head(text)
  return string.match(text, '^(%a)(%d+) ([^\n]*)\n')
end

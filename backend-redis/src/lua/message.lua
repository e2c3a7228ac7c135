-- A message is one field of its stream: ROLE TOKENS ' ' ID \n BODY, the role a letter, the id ''
-- for none. Schema 1 wrote four fields: role, tokens, id and body.

-- Role, tokens and id of a message, given its fields.
local function message_head(fields)
  if #fields == 2 then
    return string.match(fields[2], '^(%a)(%d+) ([^\n]*)\n')
  end
  return fields[2], fields[4], fields[6]
end

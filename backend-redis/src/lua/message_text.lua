-- The one field of a message, given its fields.
local function message_text(fields)
  if #fields == 2 then
    return fields[2]
  end
  return fields[2] .. fields[4] .. ' ' .. fields[6] .. '\n' .. fields[8]
end

-- Counts a message in (sign 1) or out (sign -1).
local function count_message(figures, role, tokens, sign)
  local at = SYSTEM - 1 + string.find(ROLES, role, 1, true)
  figures[at], figures[TOKENS] = figures[at] + sign, figures[TOKENS] + sign * tokens
  if at == SYSTEM then
    figures[SYSTEM_TOKENS] = figures[SYSTEM_TOKENS] + sign * tokens
  end
end

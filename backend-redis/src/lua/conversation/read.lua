-- Reads the newest messages between two numbers, and how many there are in all.
-- KEYS: messages. ARGV: greatest and least number, how many, roles ('' for all), since and until in
-- ms ('' for none).
-- Cost: O(log n + read); with roles or times, read are also those newer ones that do not match.
local wanted = tonumber(ARGV[3])
local roles, since, till = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local total = redis.call('XLEN', KEYS[1])
if roles == '' and not since and not till then
  return {total, redis.call('XREVRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])}
end
local found, to = {}, ARGV[1]
while #found < wanted do
  local batch = redis.call('XREVRANGE', KEYS[1], to, ARGV[2], 'COUNT', 128)
  for _, message in ipairs(batch) do
    local seq, at = string.match(message[1], '^(%d+)-(%d+)$')
    at = tonumber(at)
    if #found < wanted and (not since or at >= since) and (not till or at < till) and
       (roles == '' or string.find(roles, (message_head(message[2][2])), 1, true)) then
      found[#found + 1] = message
    end
    to = '(' .. seq .. '-0'
  end
  if #batch < 128 then
    break
  end
end
return {total, found}

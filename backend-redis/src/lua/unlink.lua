-- Unlinks the keys that a sorted set names, each behind all of `starts`.
local function unlink_all(set, ...)
  local starts, at = {...}, 0
  while true do
    local members = redis.call('ZRANGE', set, at, at + 999)
    if #members == 0 then
      return
    end
    at = at + #members
    local names = {}
    for _, member in ipairs(members) do
      for _, start in ipairs(starts) do
        names[#names + 1] = start .. member
      end
    end
    redis.call('UNLINK', unpack(names))
  end
end

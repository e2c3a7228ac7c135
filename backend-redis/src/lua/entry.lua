-- An entry of working memory is one string:
--   EXPIRES VERSION CREATED UPDATED METADATA \n VALUE
-- EXPIRES has 15 digits, so that it can be overwritten in place; all zero means never. Values stay
-- text here: Lua's numbers are floats.
local NEVER = '000000000000000'
local LATEST = 253402207200000 -- the last representable time

-- Expires, version and created of the entry; nothing where there is none or it has expired.
local function head(entry, now)
  local text = redis.call('GETRANGE', entry, 0, 79)
  local expires, version, created = string.match(text, '^(%d+) (%d+) (%d+) ')
  if expires and (expires == NEVER or tonumber(expires) > now) then
    return expires, version, created
  end
end

-- The next version; nothing where the scope is not registered, and so has no counter. The counter
-- starts at the server's microseconds when the scope is registered, so that it is past 1, and stays
-- below 2^53.
local function next_version(versions)
  local version = redis.call('INCR', versions)
  if version == 1 then
    redis.call('DEL', versions)
    return nil
  end
  return digits(version)
end

-- When an entry expires that lives so many milliseconds from now.
local function expiry(now, ttl)
  if ttl == '' then
    return NEVER
  end
  return string.format('%015.0f', math.min(now + tonumber(ttl), LATEST))
end

-- The server keeps a key through the millisecond of its expiry; the contract does not.
local function last_moment(expires)
  return digits(tonumber(expires) - 1)
end

-- An entry of working memory is one string:
--   EXPIRES VERSION CREATED UPDATED METADATA \n VALUE
-- VALUE is JSON, or a NUL, which no JSON begins with, and bytes as they are.
-- EXPIRES has 15 digits, all zero for never, and VERSION 16, so that each has its place and EXPIRES
-- can be overwritten there. Values stay text here: Lua's numbers are floats.
local NEVER = '000000000000000'
local LATEST = 253402207200000 -- the last representable time

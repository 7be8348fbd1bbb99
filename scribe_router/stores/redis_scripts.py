"""The rules of the ledger as Lua: a script is one atomic step on one shard, and running it twice changes no more.

Amounts stay decimal strings that Redis adds as 64-bit integers. Lua has doubles only, exact up to 9.007e15 (nine
million USD in nano-dollars), so what is compared is split at nine digits. A script that finds another epoch than it
was sent with changes nothing. Keys that a row names are built inside: they share the tag, so the slot, of the row.

A row's version orders what counters hear of it: 1 taken, 3 swept, 4 settled, 5 released, 9 given back for good.
"""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest that names it on the server."""

    text: str
    sha: str


def script(*parts: str) -> Script:
    """The parts as one script that first looks at the epoch."""
    text = "".join((EPOCH, *parts))
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


EPOCH = """
local shard = KEYS[1]:match('^(.-}:)')
if redis.call('GET', shard .. 'epoch') ~= ARGV[1] then return {'epoch'} end
"""

LEFT = """
local function limbs(text)
  local sign, digits = text:match('^(-?)(%d+)$')
  local high, low = tonumber(digits:sub(1, -10)) or 0, tonumber(digits:sub(-9))
  if sign == '-' then return -high, -low end
  return high, low
end
local function less(high, low, text)
  local a, b = limbs(text)
  return high < a or (high == a and low < b)
end
local function left(cap, settled, reserved)
  local a, b = limbs(cap)
  local c, d = limbs(settled)
  local e, f = limbs(reserved)
  local carry = math.floor((b - d - f) / 1e9)
  return a - c - e + carry, b - d - f - carry * 1e9
end
local function joined(high, low)
  if high == 0 then return string.format('%d', low) end
  return string.format('%d%09d', high, low)
end
"""

MOVE = """
local function move(counter, field, amount, sign)
  if amount ~= '0' then redis.call('HINCRBY', counter, field, sign .. amount) end
end
local function born(counter, name)
  if redis.call('HSETNX', counter, 'born', '1') == 0 then return end
  redis.call('HINCRBY', counter, 'settled', 0)
  redis.call('HINCRBY', counter, 'reserved', 0)
  redis.call('SADD', shard .. 'names', name)
end
"""

WRITE = """
local function write(state, granted)
  local last = redis.call('ZREVRANGE', shard .. 'opened', 0, 0, 'WITHSCORES')
  local score = math.max(tonumber(ARGV[4]), (tonumber(last[2]) or 0) + 1)
  redis.call('HSET', KEYS[1], 'state', state, 'granted', granted, 'version', '1', 'owner', ARGV[3], 'row', ARGV[5],
    'charges', ARGV[6])
  redis.call('ZADD', shard .. 'opened', string.format('%d', score), ARGV[2])
  redis.call('SADD', shard .. 'owned:' .. ARGV[3], ARGV[2])
  for index, field in ipairs({'exchange', 'user', 'principal', 'model'}) do
    redis.call('ZADD', shard .. 'by:' .. field .. ':' .. ARGV[6 + index], string.format('%d', score), ARGV[2])
  end
end
local known = redis.call('HMGET', KEYS[1], 'state', 'granted')
if known[1] == 'void' then return {'void'} end
if known[1] == 'intent' then return {'busy'} end
if known[1] then return {'granted', known[2]} end
if not redis.call('ZSCORE', shard .. 'owners', ARGV[3]) then return {'owner'} end
"""

# KEYS: the row, then the counter of each charge. ARGV: epoch, attempt, owner, time opened, row, charges, exchange,
# user, principal, model, floor, bound, then of each charge its name, its cap, and whether a new counter is seeded.
RESERVE = script(
    WRITE,
    LEFT,
    MOVE,
    """
local high, low, tightest = math.huge, 0, nil
for index = 2, #KEYS do
  local found = redis.call('HMGET', KEYS[index], 'settled', 'reserved', 'born')
  if not found[3] and ARGV[9 + 3 * index] == '1' then return {'seed', index - 2} end
  local settled, reserved = found[1] or '0', found[2] or '0'
  local a, b = left(ARGV[8 + 3 * index], settled, reserved)
  if a < high or (a == high and b < low) then
    high, low, tightest = a, b, {'refused', index - 2, settled, reserved}
  end
end
local granted = ARGV[12]
if tightest and less(high, low, granted) then
  if less(high, low, ARGV[11]) then return tightest end
  granted = joined(high, low)
end
write('reserved', granted)
for index = 2, #KEYS do
  born(KEYS[index], ARGV[7 + 3 * index])
  move(KEYS[index], 'reserved', granted, '')
end
return {'granted', granted}
""",
)

# KEYS: the row. ARGV: epoch, attempt, owner, cost (empty: none; *: what was granted), mark, outcome, time closed,
# usage, raw usage, cap, whether it is a sweep's. A zero for a row that is not there keeps a late reservation out; an
# hour is longer than any command waits in a socket.
SETTLE_HEAD = """
local fields = {'state', 'provisional', 'granted', 'cost', 'owner', 'charges', 'pending', 'version', 'mark'}
local found = redis.call('HMGET', KEYS[1], unpack(fields))
local state, granted, swept = found[1], found[3], ARGV[11] == '1'
local cost = ARGV[4] == '*' and granted or ARGV[4]
local truth = cost == '' and '0' or cost
local old = found[4] and found[4] ~= '' and found[4] or '0'
local version = swept and '3' or '4'
if not state then
  if truth ~= '0' then return {'unknown'} end
  redis.call('HSET', KEYS[1], 'state', 'void')
  redis.call('EXPIRE', KEYS[1], 3600)
  return {'void'}
end
"""
SETTLE_ROW = """
if state == 'settled' and (swept or found[2] ~= '1') then return {'kept', found[9]} end
local exceeded = #truth > #granted or (#truth == #granted and truth > granted)
redis.call('HSET', KEYS[1], 'state', 'settled', 'provisional', ARGV[11], 'exceeded', exceeded and '1' or '0',
  'cost', cost, 'mark', ARGV[5], 'outcome', ARGV[6], 'closed', ARGV[7], 'usage', ARGV[8], 'raw_usage', ARGV[9])
if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'cap', ARGV[10]) end
"""
MOVE_ALL = """
for _, charge in ipairs(cjson.decode(found[6])) do
  local counter = shard .. 'counter:' .. charge.counter
  move(counter, 'settled', truth, '')
  move(counter, 'settled', old, '-')
  if state == 'reserved' then move(counter, 'reserved', granted, '-') end
end
redis.call('SREM', shard .. 'owned:' .. found[5], ARGV[2])
return {'settled'}
"""
VOID_IS_FINAL = "if state == 'void' then return {truth == '0' and 'void' or 'unknown'} end"
SETTLE = script(MOVE, SETTLE_HEAD, VOID_IS_FINAL, SETTLE_ROW, MOVE_ALL)

# KEYS: the row. ARGV: epoch, attempt, owner, time closed.
RELEASE_HEAD = """
local fields = {'state', 'provisional', 'granted', 'cost', 'owner', 'charges', 'pending', 'version', 'mark'}
local found = redis.call('HMGET', KEYS[1], unpack(fields))
local state, granted, truth, version, mark = found[1], found[3], '0', '5', found[9]
local old = found[4] and found[4] ~= '' and found[4] or '0'
"""
RELEASE_ROW = """
if state ~= 'settled' or not (mark == 'bound' or mark == 'doubt' or mark == 'swept') then return {'kept'} end
redis.call('HSET', KEYS[1], 'cost', '0', 'mark', 'released', 'provisional', '0', 'closed', ARGV[4])
"""
RELEASE = script(MOVE, RELEASE_HEAD, RELEASE_ROW, MOVE_ALL)

# ARGV: epoch, counter, the charge as JSON, since as a score, since, the index to look into, match as JSON.
ADOPT = """
local wanted = cjson.decode(ARGV[7])
local function matches(row)
  for _, pair in ipairs(wanted) do
    if tostring(row[pair[1]]) ~= pair[2] then return false end
  end
  return row.opened >= tonumber(ARGV[5])
end
local function lists(charges)
  for _, charge in ipairs(cjson.decode(charges)) do
    if charge.counter == ARGV[2] then return true end
  end
  return false
end
local function adopt(key)
  local found = redis.call('HMGET', key, 'state', 'granted', 'cost', 'version', 'charges', 'row')
  if not (found[1] == 'reserved' or found[1] == 'settled') or not matches(cjson.decode(found[6])) then return nil end
  if not lists(found[5]) then
    local charges = found[5] == '[]' and '[' or found[5]:sub(1, -2) .. ','
    redis.call('HSET', key, 'charges', charges .. ARGV[3] .. ']')
  end
  local cost = found[3] and found[3] ~= '' and found[3] or '0'
  if found[1] == 'reserved' then return found[4], found[2], '0' end
  return found[4], '0', cost
end
local attempts = redis.call('ZRANGEBYSCORE', shard .. ARGV[6], ARGV[4], '+inf')
"""
# KEYS: the counter. It is created with what the matching rows of its window hold, and they list it from now on.
SEED = script(
    MOVE,
    ADOPT,
    """
if redis.call('HEXISTS', KEYS[1], 'born') == 1 then return {'seeded'} end
for _, attempt in ipairs(attempts) do
  local version, reserved, settled = adopt(shard .. 'row:' .. attempt)
  if version then
    move(KEYS[1], 'reserved', reserved, '')
    move(KEYS[1], 'settled', settled, '')
  end
end
born(KEYS[1], ARGV[2])
return {'seeded'}
""",
)

# KEYS: the shard's epoch. ARGV: epoch, owner, the longest gap between beats in ms, whether a new owner may be born.
BEAT = script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('ZSCORE', shard .. 'owners', ARGV[2])
if not last and ARGV[4] ~= '1' then return {'owner'} end
if not last or now - last > tonumber(ARGV[3]) then redis.call('HSET', shard .. 'since', ARGV[2], now) end
redis.call('ZADD', shard .. 'owners', now, ARGV[2])
return {'beat'}
""")

# KEYS: the shard's epoch. ARGV: epoch, owner. Its reservations may be swept at once.
LEAVE = script("""
redis.call('ZADD', shard .. 'owners', 'XX', 0, ARGV[2])
return {'left'}
""")

# KEYS: the shard's epoch. ARGV: epoch, owner, lease in ms, most attempts. An owner is dead when it has not beaten while
# this one has beaten without a gap for a whole lease, and lately: after a pause of the server nobody is dead.
DEAD = script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease, since = tonumber(ARGV[3]), tonumber(redis.call('HGET', shard .. 'since', ARGV[2]) or now)
local last = tonumber(redis.call('ZSCORE', shard .. 'owners', ARGV[2]) or 0)
local before = now - since >= lease and now - last <= lease / 2 and now - lease or 0
local attempts = {'dead'}
for _, owner in ipairs(redis.call('ZRANGEBYSCORE', shard .. 'owners', 0, before)) do
  local held = owner ~= ARGV[2] and redis.call('SRANDMEMBER', shard .. 'owned:' .. owner, ARGV[4]) or {}
  if owner ~= ARGV[2] and #held == 0 then
    redis.call('ZREM', shard .. 'owners', owner)
    redis.call('HDEL', shard .. 'since', owner)
  end
  for _, attempt in ipairs(held) do table.insert(attempts, attempt) end
end
return attempts
""")

FORGET = """
local function forget(attempt, text)
  local row = cjson.decode(text)
  redis.call('ZREM', shard .. 'opened', attempt)
  for _, field in ipairs({'exchange', 'user', 'principal', 'model'}) do
    redis.call('ZREM', shard .. 'by:' .. field .. ':' .. row[field], attempt)
  end
end
"""
# KEYS: the shard's epoch. ARGV: epoch, score before which rows are folded, how many to skip, how many to look at. A row
# that was written behind a younger one, because clocks disagree, has that one's score and is folded later.
FOLD = script(
    FORGET,
    """
local page = redis.call('ZRANGEBYSCORE', shard .. 'opened', '-inf', '(' .. ARGV[2], 'LIMIT', ARGV[3], ARGV[4])
local folded = {'folded', #page}
for _, attempt in ipairs(page) do
  local key = shard .. 'row:' .. attempt
  local found = redis.call('HMGET', key, 'state', 'pending', 'cost', 'charges', 'row')
  if found[1] == 'settled' and not found[2] then
    for _, charge in ipairs(cjson.decode(found[4])) do
      redis.call('HINCRBY', shard .. 'checkpoints', charge.counter, found[3] ~= '' and found[3] or '0')
    end
    forget(attempt, found[5])
    redis.call('DEL', key)
    table.insert(folded, attempt)
    table.insert(folded, found[4])
  end
end
return folded
""",
)

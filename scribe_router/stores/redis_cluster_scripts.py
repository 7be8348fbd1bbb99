"""The steps of a walk over shards as Lua, for Redis Cluster: a row's, and a counter's, each in its own slot.

A counter remembers beside its sums what each attempt contributes ("version reserved settled"), so that a step which
arrives twice, late, or after a later one changes nothing.
"""

from scribe_router.stores.redis_scripts import (
    ADOPT,
    FORGET,
    LEFT,
    MOVE,
    RELEASE_HEAD,
    RELEASE_ROW,
    SETTLE_HEAD,
    SETTLE_ROW,
    WRITE,
    script,
)

# KEYS: the row, its indexes. ARGV: epoch, attempt, owner, time opened, row, charges, exchange, user, principal, model.
INTENT = script(WRITE, "write('intent', '0')\nreturn {'intent'}")

# KEYS: the counter, its entries. ARGV: epoch, attempt, counter, wanted, floor, cap, whether it is to be seeded.
TAKE = script(
    LEFT,
    MOVE,
    """
local entry = redis.call('HGET', KEYS[2], ARGV[2])
if entry then
  local version, reserved = entry:match('^(%d+) (%d+)')
  return {version == '1' and 'taken' or 'void', reserved}
end
local found = redis.call('HMGET', KEYS[1], 'settled', 'reserved', 'born')
if not found[3] and ARGV[7] == '1' then return {'seed'} end
local settled, reserved, amount = found[1] or '0', found[2] or '0', ARGV[4]
local high, low = left(ARGV[6], settled, reserved)
if less(high, low, amount) then
  if less(high, low, ARGV[5]) then return {'refused', settled, reserved} end
  amount = joined(high, low)
end
born(KEYS[1], ARGV[3])
move(KEYS[1], 'reserved', amount, '')
redis.call('HSET', KEYS[2], ARGV[2], '1 ' .. amount .. ' 0')
return {'taken', amount}
""",
)

# KEYS: the row. ARGV: epoch, attempt, amount.
GRANT = script("""
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'intent' then redis.call('HSET', KEYS[1], 'state', 'reserved', 'granted', ARGV[3]) end
return {(state == 'intent' or state == 'reserved') and 'granted' or 'void'}
""")

# KEYS: the counter, its entries. ARGV: epoch, attempt, version, reserved, settled. Version 0 takes back what was taken.
APPLY = script(
    MOVE,
    """
local entry = redis.call('HGET', KEYS[2], ARGV[2]) or '-1 0 0'
local version, reserved, settled = entry:match('^(-?%d+) (%d+) (%d+)$')
local undo = ARGV[3] == '0'
if undo and version ~= '1' or not undo and tonumber(version) >= tonumber(ARGV[3]) then return {'known'} end
move(KEYS[1], 'reserved', ARGV[4], '')
move(KEYS[1], 'reserved', reserved, '-')
move(KEYS[1], 'settled', ARGV[5], '')
move(KEYS[1], 'settled', settled, '-')
if undo then redis.call('HDEL', KEYS[2], ARGV[2])
else redis.call('HSET', KEYS[2], ARGV[2], ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5]) end
return {'applied'}
""",
)

# What a settlement or a release leaves to do on the counters. Until it is done the row is pending, and owned by whoever
# does it, so that a crash in between is swept like any other.
HOLD = """
local function hold()
  redis.call('SREM', shard .. 'owned:' .. found[5], ARGV[2])
  if found[7] then redis.call('SREM', shard .. 'owned:' .. found[7], ARGV[2]) end
  redis.call('SADD', shard .. 'owned:' .. ARGV[3], ARGV[2])
  redis.call('HSET', KEYS[1], 'pending', ARGV[3])
end
if not redis.call('ZSCORE', shard .. 'owners', ARGV[3]) then return {'owner'} end
if state == 'settled' and found[7] and tonumber(found[8]) >= tonumber(version) then
  hold()
  return {'apply', found[8], old, found[6]}
end
"""
UNDO = """
if state == 'void' or state == 'intent' then
  if truth ~= '0' and not swept then return {'unknown'} end
  if not found[6] then return {'void'} end
  redis.call('HSET', KEYS[1], 'state', 'void')
  hold()
  return {'undo', found[6]}
end
"""
PEND = """
redis.call('HSET', KEYS[1], 'version', version)
hold()
return {'apply', version, truth, found[6]}
"""
SETTLE = script(SETTLE_HEAD, HOLD, UNDO, SETTLE_ROW, PEND)
RELEASE = script(RELEASE_HEAD, HOLD, RELEASE_ROW, PEND)

# KEYS: the row. ARGV: epoch, attempt, owner, version.
DONE = script("""
local found = redis.call('HMGET', KEYS[1], 'version', 'pending')
if found[1] == ARGV[4] and found[2] then
  redis.call('HDEL', KEYS[1], 'pending')
  redis.call('SREM', shard .. 'owned:' .. found[2], ARGV[2])
end
return {'done'}
""")

# KEYS: the row. ARGV: epoch, attempt, whether the attempt is void for good.
DROP = script(
    FORGET,
    """
local found = redis.call('HMGET', KEYS[1], 'state', 'row', 'owner', 'pending')
if not found[2] or not (found[1] == 'intent' or found[1] == 'void') then return {'kept'} end
forget(ARGV[2], found[2])
redis.call('SREM', shard .. 'owned:' .. found[3], ARGV[2])
if found[4] then redis.call('SREM', shard .. 'owned:' .. found[4], ARGV[2]) end
redis.call('DEL', KEYS[1])
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], 'state', 'void')
  redis.call('EXPIRE', KEYS[1], 3600)
end
return {'dropped'}
""",
)

# KEYS: the shard's epoch. ARGV as for ADOPT. What the adopted rows hold, four values each.
ADOPT_ROWS = script(
    ADOPT,
    """
local adopted = {'adopted'}
for _, attempt in ipairs(attempts) do
  local version, reserved, settled = adopt(shard .. 'row:' .. attempt)
  if version then
    for _, value in ipairs({attempt, version, reserved, settled}) do table.insert(adopted, value) end
  end
end
return adopted
""",
)

# KEYS: the counter. ARGV: epoch, counter. From now on it may be taken from.
BORN = script(MOVE, "born(KEYS[1], ARGV[2])\nreturn {'born'}")

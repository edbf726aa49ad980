-- The token filter for Traffic Server's Lua plugin: what the Wasm filter is measured against.

-- The same trial division as in the Wasm filter.
local function smallest_divisor(number)
  if number < 4 then
    return number
  end
  if number % 2 == 0 then
    return 2
  end
  local divisor = 3
  while divisor * divisor <= number do
    if number % divisor == 0 then
      return divisor
    end
    divisor = divisor + 2
  end
  return number
end

local function is_prime(number)
  return number >= 2 and smallest_divisor(number) == number
end

local function send_response()
  ts.client_response.header['x-token-prime'] = ts.ctx['token']
end

function do_global_read_request()
  local text = ts.client_request.header['token']
  local token = text and tonumber(text)
  if token and is_prime(token) then
    -- What one global function stores, another does not see: only a hook of the transaction does.
    ts.ctx['token'] = text
    ts.hook(TS_LUA_HOOK_SEND_RESPONSE_HDR, send_response)
  else
    ts.http.set_resp(403, 'not a prime\n')
  end
end

-- What wrk sends. `wrk -s requests.lua URL -- KIND [ARGUMENT]`, one thread.
--
--   browser [ADDRESS]   a Chrome navigation, forwarded for ADDRESS where one is given
--   scraper [ADDRESS]   a client that says that it is a scraper
--   few COUNT           browser requests from COUNT addresses, whose turn comes by chance
--   crowd COUNT         browser requests from COUNT distinct addresses, each once, then an end
--
-- Prints one JSON object when it is done.

local ffi = require "ffi"
ffi.cdef "int getpid(void); int kill(int process, int signal);"
local SIGINT = 2

-- The headers of a stock Chrome 131 on Linux, in its order, as it sends them to a trustworthy
-- origin; the order is why this is a string and not wrk.headers.
local CHROME = table.concat({
  "GET /articles/1 HTTP/1.1",
  "Host: localhost",
  "Connection: keep-alive",
  'sec-ch-ua: "Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"',
  "sec-ch-ua-mobile: ?0",
  'sec-ch-ua-platform: "Linux"',
  "Upgrade-Insecure-Requests: 1",
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    .. "Chrome/131.0.0.0 Safari/537.36",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    .. "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
  "Sec-Fetch-Site: none",
  "Sec-Fetch-Mode: navigate",
  "Sec-Fetch-User: ?1",
  "Sec-Fetch-Dest: document",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Accept-Language: en-US,en;q=0.9",
}, "\r\n") .. "\r\n"

local SCRAPER = table.concat({
  "GET /articles/1 HTTP/1.1",
  "Host: localhost",
  "User-Agent: Scrapy/2.11.2 (+https://scrapy.org)",
  "Accept: */*",
}, "\r\n") .. "\r\n"

local function forwarded_for(address)
  return address and "X-Forwarded-For: " .. address .. "\r\n\r\n" or "\r\n"
end

-- The n-th address of the crowd: every address of 11.0.0.0/8 once (an odd factor is a bijection
-- modulo a power of two), neighbours far apart.
local function crowd_address(n)
  local scattered = (n * 40503) % 16777216
  return string.format("11.%d.%d.%d", math.floor(scattered / 65536),
    math.floor(scattered / 256) % 256, scattered % 256)
end

-- Ends the run before its time: the thread at once, and wrk's main thread, which sleeps until the
-- time is over, as an interrupt from the keyboard would.
local function finish()
  wrk.thread:stop()
  ffi.C.kill(ffi.C.getpid(), SIGINT)
end

local function crowd(count)
  -- wrk asks for one request that it never sends, and ends with one outstanding on each of its
  -- connections: a little more than `count` have to be asked for.
  local last, n = count + 256, 0
  return function()
    n = n + 1
    if n == last then
      finish()
    end
    return CHROME .. forwarded_for(crowd_address(n))
  end
end

local function few(count)
  return function()
    return CHROME .. forwarded_for(string.format("11.0.0.%d", math.random(count)))
  end
end

local function always(text)
  return function()
    return text
  end
end

function init(args)
  local kind, argument = args[1], args[2]
  if kind == "crowd" then
    request = crowd(tonumber(argument))
  elseif kind == "few" then
    request = few(tonumber(argument))
  elseif kind == "scraper" then
    request = always(SCRAPER .. forwarded_for(argument))
  else
    request = always(CHROME .. forwarded_for(argument))
  end
end

-- Replaced in `init`; wrk decides by its being there whether requests are made one by one.
function request()
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"bytes":%d,"not_2xx":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end

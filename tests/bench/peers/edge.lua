-- The edge of a Lua deployment: a blocklist in Redis, asked for every request, then a score from
-- the user agent and a few headers. Written for this benchmark, in two grades:
--
--   plain          what the scripts of such edges do on each request: SELECT before the lookup, and
--                  robots.txt read and parsed anew
--   EDGE=tuned     the database is chosen once per connection, and robots.txt read once
--
-- Both are kinder than what they stand for: connections to Redis are pooled and without a password,
-- the lists are in lower case already, and a bad score is a 403 without a call to another service.
local redis = require "nginx.redis"

local REDIS_PORT = tonumber(os.getenv("REDIS_PORT"))
local TUNED = os.getenv("EDGE") == "tuned"
local ROBOTS_FILE = string.match(debug.getinfo(1, "S").source, "^@(.*/)") .. "robots.txt"
local BLOCKLIST_DATABASE = 2
local BLOCKLIST_PREFIX = "default:blocklist:ip:"
local THRESHOLD = 0.7

local WELCOME = {
  "googlebot", "adsbot-google", "apis-google", "mediapartners-google", "googlebot-image",
  "googlebot-news", "googlebot-video", "bingbot", "adidxbot", "bingpreview", "msnbot",
  "duckduckbot", "baiduspider", "yandexbot", "yandeximages", "slurp", "facebookexternalhit",
  "facebot", "linkedinbot", "twitterbot", "applebot",
}
local UNWELCOME = {
  "gptbot", "ccbot", "claudebot", "google-extended", "bytespider", "petalbot", "scrapy",
  "python-requests", "curl", "wget", "ahrefsbot", "semrushbot", "mj12bot", "dotbot", "masscan",
  "zgrab", "nmap", "sqlmap", "nikto",
}
local USUAL_METHODS = { GET = true, POST = true, HEAD = true, OPTIONS = true }
local ASSETS = {
  css = true, js = true, png = true, jpg = true, jpeg = true, gif = true, woff = true,
  woff2 = true, ico = true,
}

local function contains_any(text, words)
  for _, word in ipairs(words) do
    if string.find(text, word, 1, true) then
      return true
    end
  end
  return false
end

-- The path prefixes that robots.txt keeps from everybody.
local function read_robots()
  local prefixes, for_all = {}, false
  for line in io.lines(ROBOTS_FILE) do
    local field, value = string.match(string.lower(line), "^%s*([%w-]+)%s*:%s*(%S*)")
    if field == "user-agent" then
      for_all = value == "*"
    elseif field == "disallow" and for_all and value ~= "" and value ~= "/" then
      prefixes[#prefixes + 1] = value
    end
  end
  return prefixes
end

local robots_once = read_robots()

local function disallowed(path, prefixes)
  for _, prefix in ipairs(prefixes) do
    if string.sub(path, 1, #prefix) == prefix then
      return true
    end
  end
  return false
end

-- Whether Redis lists the address. A Redis that does not answer lists nobody.
local function blocked(address)
  local client = redis:new()
  client:set_timeout(1000)
  if not client:connect("127.0.0.1", REDIS_PORT) then
    return false
  end
  if not TUNED or client:get_reused_times() == 0 then
    client:select(BLOCKLIST_DATABASE)
  end
  local found = client:exists(BLOCKLIST_PREFIX .. address)
  client:set_keepalive(60000, 100)
  return found == 1
end

local function score(agent, bad, path, headers)
  local total = bad and 0.80 or 0
  if agent == "" then
    total = total + 0.40
  end
  if not headers["Accept-Language"] then
    total = total + 0.20
  end
  if not headers["Sec-Fetch-Site"] and not bad then
    total = total + 0.15
  end
  if headers["Accept"] == "*/*" then
    total = total + 0.10
  end
  local suffix = string.match(path, "%.(%w+)$")
  if not headers["Referer"] and path ~= "/" and not ASSETS[suffix] then
    total = total + 0.05
  end
  if not USUAL_METHODS[ngx.req.get_method()] then
    total = total + 0.20
  end
  return total
end

local edge = {}

function edge.judge()
  if blocked(ngx.var.remote_addr) then
    return ngx.exit(ngx.HTTP_FORBIDDEN)
  end
  local robots = TUNED and robots_once or read_robots()
  local headers = ngx.req.get_headers()
  local agent = string.lower(headers["User-Agent"] or "")
  local path = ngx.var.uri
  if contains_any(agent, WELCOME) then
    if disallowed(path, robots) then
      return ngx.exit(ngx.HTTP_FORBIDDEN)
    end
    return
  end
  if score(agent, contains_any(agent, UNWELCOME), path, headers) >= THRESHOLD then
    return ngx.exit(ngx.HTTP_FORBIDDEN)
  end
end

return edge

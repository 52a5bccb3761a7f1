// A scraper built on Node's own fetch, or on its older http module: `scrape.mjs fetch|http < job.json`.
import http from "node:http";
import https from "node:https";
import { text } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";

const job = JSON.parse(await text(process.stdin));
const image = /<img\b[^>]*?\bsrc=["']([^"'#]+)/gi;
const asset = /<(?:img|script|link)\b[^>]*?\b(?:src|href)=["']([^"'#]+)/gi;

const headers = () =>
  job.headers ? Object.fromEntries(job.headers[Math.floor(Math.random() * job.headers.length)]) : undefined;

const withFetch = async (url) => (await fetch(url, { headers: headers() })).text();

const withHttp = (url) =>
  new Promise((resolve, reject) => {
    const client = url.startsWith("https") ? https : http;
    client
      .get(url, { headers: headers(), rejectUnauthorized: false }, (answer) => resolve(text(answer)))
      .on("error", reject);
  });

const get = process.argv[2] === "http" ? withHttp : withFetch;
const pattern = { none: null, images: image, all: asset }[job.assets];

for (const path of job.paths) {
  const page = await get(job.base + path);
  const found = pattern ? [...page.matchAll(pattern)].map((m) => new URL(m[1], job.base + path).href) : [];
  for (const link of [...new Set(found)].filter((link) => link.startsWith(job.base)).slice(0, 12)) await get(link);
  await pause(job.pace * 1000);
}

// The same on Node's own server.
const http = require("node:http");

http.createServer((request, response) => {
    response.setHeader("Content-Type", "text/plain");
    if (request.method === "GET") return response.end(request.url);
    response.statusCode = Number(request.url.slice(1, 4)) || 401;
    if (response.statusCode === 302) response.setHeader("Location", "/login");
    response.setHeader("Content-Length", "0");
    response.end();
}).listen(Number(process.argv[2]), "127.0.0.1");

"""The same as a WSGI application, for gunicorn."""


def application(environ, start):
    path = environ["PATH_INFO"]
    fields = [("Content-Type", "text/plain")]
    if environ["REQUEST_METHOD"] == "GET":
        body = path.encode("latin-1")
        start("200 OK", [*fields, ("Content-Length", str(len(body)))])
        return [body]
    if path.startswith("/302"):
        fields.append(("Location", "/login"))
    start({"/302": "302 Found", "/405": "405 Method Not Allowed"}.get(path[:4], "401 Unauthorized"), [*fields, ("Content-Length", "0")])
    return [b""]

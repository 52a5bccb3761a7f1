"""A real server of tools, by the protocol's own library: `classify` does what a model does."""

import json
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("classifiers")


@server.tool()
def classify(instructions: str, record: str, schema: dict) -> str:
    """Says of every client whose record names curl that it is a scraper."""
    lines = record.splitlines()
    is_whole = lines[0] == "BEGIN RECORD" and "You classify clients" in instructions and schema["required"]
    facts = json.loads(lines[1])
    found = "scraper" if is_whole and "curl" in facts["user_agent"] else "unsure"
    return json.dumps({"verdict": found, "confidence": 0.8, "reason": "the tool's rule"})


@server.tool()
def broken(instructions: str, record: str, schema: dict) -> str:
    """Fails."""
    raise RuntimeError("broken")


server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))

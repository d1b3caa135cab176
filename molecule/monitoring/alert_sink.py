"""Takes mail by SMTP and posts over HTTP, and keeps a line of each: who gets alerts in the tests."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

SMTP_PORT, HTTP_PORT = 2525, 8080
# The pod's own, which no other user writes to.
LINES = Path("/tmp/said")  # nosec B108


def keep(said: dict[str, Any]) -> None:
    with LINES.open("a") as file:
        file.write(json.dumps(said) + "\n")


async def mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One conversation (RFC 5321), in which everything is accepted."""
    writer.write(b"220 sink\r\n")
    recipients: list[str] = []
    while line := (await reader.readline()).decode(errors="replace").strip():
        word = line.split()[0].upper()
        if word == "RCPT":
            recipients.append(line)
        if word == "DATA":
            writer.write(b"354 go on\r\n")
            text = (await reader.readuntil(b"\r\n.\r\n")).decode(errors="replace")
            subject = re.search(r"(?im)^subject: (.*)$", text)
            keep({"by": "mail", "to": recipients, "subject": subject[1].strip() if subject else ""})
        writer.write(b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n")
        if word == "QUIT":
            break
    writer.close()


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request, whose document has Alertmanager's alerts."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
    length = re.search(r"(?i)content-length: (\d+)", head)
    document = json.loads(await reader.readexactly(int(length[1]) if length else 0))
    token = re.search(r"(?im)^authorization: (.*)$", head)
    keep(
        {
            "by": head.split()[1],
            "status": document["status"],
            "alerts": [alert["labels"]["alertname"] for alert in document["alerts"]],
            "token": token[1].strip() if token else "",
        }
    )
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def serve() -> None:
    servers = [await asyncio.start_server(mail, port=SMTP_PORT), await asyncio.start_server(post, port=HTTP_PORT)]
    LINES.touch()
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(serve())

"""One command to the FreeSWITCH of this host, made by Ansible (role freeswitch): ``esl.py reloadxml``.

The password is read from a file: it is in no argument and in no environment.
"""

import socket
import sys
from pathlib import Path
from typing import BinaryIO


def block(stream: BinaryIO) -> tuple[dict[str, str], bytes]:
    """Headers of the next message, and its body."""
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(": ")
        headers[name] = value
    if not headers:
        sys.exit("esl.py: the media server closed the connection")
    return headers, stream.read(int(headers.get("Content-Length", 0)))


secret = Path("/etc/callplane/esl.secret").read_text().strip()
with socket.create_connection(("127.0.0.1", 8021), timeout=60) as link, link.makefile("rb") as stream:
    block(stream)
    link.sendall(f"auth {secret}\n\n".encode())
    if not block(stream)[0].get("Reply-Text", "").startswith("+OK"):
        sys.exit("esl.py: the media server refuses the password of /etc/callplane/esl.secret")
    link.sendall(f"api {' '.join(sys.argv[1:])}\n\n".encode())
    answer = block(stream)[1].decode(errors="replace")
print(answer.strip())
sys.exit(answer.startswith("-ERR"))

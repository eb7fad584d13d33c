"""The socket on which systemd listens to a service: prints each message as one line of JSON.

usage: notify_socket.py PATH
"""

import json
import socket
import sys

listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
print(json.dumps(["listening"]), flush=True)
while True:
    print(json.dumps(listener.recv(4096).decode().split("\n")), flush=True)

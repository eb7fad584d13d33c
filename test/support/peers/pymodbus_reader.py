"""Debian's pymodbus reading holding registers without rest; each is to hold 1000 times its unit plus its address.

usage: pymodbus_reader.py HOST PORT UNIT ADDRESS COUNT SECONDS      prints {"answers", "exceptions", "wrong"} as JSON
"""

import json
import sys
import time

from pymodbus.client import ModbusTcpClient


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    unit, address, count, seconds = (int(text) for text in sys.argv[3:7])
    client = ModbusTcpClient(host, port=port, timeout=5)
    assert client.connect()
    seen = {"answers": 0, "exceptions": 0, "wrong": 0}
    expected = [1000 * unit + address + index for index in range(count)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = client.read_holding_registers(address, count, slave=unit)
        if answer.isError():
            seen["exceptions"] += 1
        elif answer.registers == expected:
            seen["answers"] += 1
        else:
            seen["wrong"] += 1
    client.close()
    print(json.dumps(seen))


main()

"""A Modbus server by pymodbus, of Debian's python3-pymodbus, for tests.

usage: pymodbus_server.py rtu|ascii PATH BAUD UNIT | pymodbus_server.py tcp|udp|rtu-over-tcp|ascii-over-tcp PORT UNIT
stdin: lines "TABLE ADDRESS VALUE ..." up to a line "end"; then it prints "ready PORT" and serves until it is killed.
"""

import asyncio
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.device import ModbusDeviceIdentification
from pymodbus.server.async_io import ModbusSerialServer, ModbusTcpServer, ModbusUdpServer
from pymodbus.transaction import ModbusAsciiFramer, ModbusRtuFramer, ModbusSocketFramer

TABLES = {"coil": "co", "discrete-input": "di", "holding-register": "hr", "input-register": "ir"}


def read_tables():
    tables = {short: [0] * 10000 for short in TABLES.values()}
    for line in sys.stdin:
        words = line.split()
        if words == ["end"]:
            break
        table, address, *values = words
        start = int(address)
        tables[TABLES[table]][start : start + len(values)] = [int(value) for value in values]
    return {short: ModbusSequentialDataBlock(0, values) for short, values in tables.items()}


async def main():
    kind, place, *rest = sys.argv[1:]
    unit = int(rest[-1])
    slave = ModbusSlaveContext(zero_mode=True, **read_tables())
    context = ModbusServerContext(slaves={unit: slave}, single=False)
    framer = {"tcp": ModbusSocketFramer, "udp": ModbusSocketFramer, "asc": ModbusAsciiFramer, "rtu": ModbusRtuFramer}[kind[:3]]
    names = {"VendorName": "Acme", "ProductCode": "M7", "MajorMinorRevision": "2.1"}
    known = {
        "context": context,
        "framer": framer,
        "identity": ModbusDeviceIdentification(info_name=names),
        "ignore_missing_slaves": True,
    }
    if kind in ("rtu", "ascii"):
        server = ModbusSerialServer(**known, port=place, baudrate=int(rest[0]))
        await server.start()
        print("ready 0", flush=True)
        await server.serve_forever()
        return
    if kind == "udp":
        server = ModbusUdpServer(**known, address=("127.0.0.1", int(place)))

        async def tell_udp():
            while server.endpoint is None:
                await asyncio.sleep(0.01)
            print("ready", server.protocol.get_extra_info("sockname")[1], flush=True)

        await asyncio.gather(server.serve_forever(), tell_udp())
        return
    server = ModbusTcpServer(**known, address=("127.0.0.1", int(place)), allow_reuse_address=True)

    async def tell():
        while server.server is None or not server.server.sockets:
            await asyncio.sleep(0.01)
        print("ready", server.server.sockets[0].getsockname()[1], flush=True)

    await asyncio.gather(server.serve_forever(), tell())


asyncio.run(main())

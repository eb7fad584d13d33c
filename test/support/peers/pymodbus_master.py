"""Debian's pymodbus as a master: reads, writes and asks for what is refused; prints what it saw as one JSON line.

usage: pymodbus_master.py tcp|udp|rtu-over-tcp HOST PORT   or   rtu|ascii PATH BAUD
"""

import json
import sys

from pymodbus.client import ModbusSerialClient, ModbusTcpClient, ModbusUdpClient
from pymodbus.mei_message import ReadDeviceInformationRequest
from pymodbus.transaction import ModbusAsciiFramer, ModbusRtuFramer

UNIT = 7


def connect(kind, place, number):
    if kind == "tcp":
        return ModbusTcpClient(place, port=number, timeout=20)
    if kind == "rtu-over-tcp":
        return ModbusTcpClient(place, port=number, framer=ModbusRtuFramer, timeout=20)
    if kind == "udp":
        return ModbusUdpClient(place, port=number, timeout=20)
    framer = ModbusRtuFramer if kind == "rtu" else ModbusAsciiFramer
    return ModbusSerialClient(place, baudrate=number, parity="N", framer=framer, timeout=2)


def main():
    client = connect(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    assert client.connect()
    seen = {}
    seen["holding"] = client.read_holding_registers(0, 4, slave=UNIT).registers
    seen["input"] = client.read_input_registers(10, 2, slave=UNIT).registers
    seen["coils"] = client.read_coils(3, 3, slave=UNIT).bits[:3]
    seen["discrete"] = client.read_discrete_inputs(0, 8, slave=UNIT).bits[:8]
    client.write_register(30, 77, slave=UNIT)
    seen["afterWrite"] = client.read_holding_registers(30, 1, slave=UNIT).registers
    client.write_registers(40, [5, 6, 7], slave=UNIT)
    seen["afterWrites"] = client.read_holding_registers(40, 3, slave=UNIT).registers
    client.write_coils(60, [True, True, False, True], slave=UNIT)
    client.write_coil(64, True, slave=UNIT)
    seen["afterCoils"] = client.read_coils(60, 5, slave=UNIT).bits[:5]
    client.mask_write_register(address=30, and_mask=0x00F2, or_mask=0x2500, unit=UNIT)
    seen["afterMask"] = client.read_holding_registers(30, 1, slave=UNIT).registers
    seen["readWrite"] = client.readwrite_registers(
        read_address=70, read_count=2, write_address=70, write_registers=[9, 8], unit=UNIT
    ).registers
    information = client.execute(ReadDeviceInformationRequest(0x01, 0x00, unit=UNIT))
    seen["vendor"] = information.information[0].decode()
    seen["illegal"] = client.read_holding_registers(499, 3, slave=UNIT).exception_code
    seen["tooMany"] = client.read_holding_registers(0, 126, slave=UNIT).exception_code
    client.close()
    print(json.dumps(seen))


main()

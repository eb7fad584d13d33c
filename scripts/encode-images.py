#!/usr/bin/python3
"""Writes test/devices/images/NAME.json from test/devices/lists/NAME.tsv: the registers of a device that holds made-up
values, encoded by pymodbus, and the values that its device map must read from them. A second image per device holds
the sentinels. It knows nothing of the maps in devices/ nor of holdfast's decoder, so that an error there shows.

usage: /usr/bin/python3 scripts/encode-images.py        (Debian: python3-pymodbus)
"""
import csv
import json
import pathlib
import random
import struct
from decimal import Decimal

from pymodbus.constants import Endian
from pymodbus.payload import BinaryPayloadBuilder

HERE = pathlib.Path(__file__).resolve().parent.parent / "test" / "devices"
BITS = {"int16": 16, "uint16": 16, "int32": 32, "uint32": 32, "int64": 64, "uint64": 64}


def registers(kind, order, value, count):
    """The value's registers, by pymodbus."""
    builder = BinaryPayloadBuilder(byteorder=Endian.Big, wordorder=Endian.Little if order == "CDAB" else Endian.Big)
    if kind == "string":
        builder.add_string(value.ljust(2 * count, "\0"))
    else:
        {
            "int16": builder.add_16bit_int, "uint16": builder.add_16bit_uint,
            "int32": builder.add_32bit_int, "uint32": builder.add_32bit_uint,
            "int64": builder.add_64bit_int, "uint64": builder.add_64bit_uint,
            "float32": builder.add_32bit_float, "pf4q": builder.add_32bit_float, "float64": builder.add_64bit_float,
        }[kind](value)
    return [int.from_bytes(word, "big") for word in builder.build()]


def made_up(rng, kind, name):
    """A raw value that uses the whole width, so that a wrong order or sign cannot pass."""
    if kind == "string":
        return "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789-") for _ in range(rng.randint(3, 12)))
    if name.endswith("_sf"):
        return rng.choice([-3, -2, -1, 0, 1])
    if kind == "pf4q":
        return struct.unpack(">f", struct.pack(">f", rng.uniform(-2, 2)))[0]
    if kind.startswith("float"):
        value = rng.choice([-1, 1]) * rng.uniform(0.01, 4000)
        return struct.unpack(">f", struct.pack(">f", value))[0] if kind == "float32" else value
    bits = BITS[kind]
    if kind.startswith("uint"):
        return rng.getrandbits(min(bits, 52)) | 1
    value = rng.getrandbits(min(bits, 53) - 1) | 1
    return -value if rng.random() < 0.5 else value


def engineering(kind, raw, scale):
    """value = raw x scale, computed in decimals."""
    if kind == "string":
        return raw
    if kind == "pf4q":
        return 2 - raw if raw > 1 else -2 - raw if raw < -1 else raw
    return float(Decimal(raw) * Decimal(scale)) if kind.startswith("float") or Decimal(scale) != 1 else raw


def sentinel(kind, text):
    value = int(text, 16)
    bits = BITS[kind]
    return value - (1 << bits) if kind.startswith("int") and value >= 1 << (bits - 1) else value


def image_of(rows, raw_of):
    """Registers by table, and what the map must say of each name."""
    raws = {row["name"]: raw_of(row) for row in rows}
    image, expected = [], {}
    for row in rows:
        raw, kind = raws[row["name"]], row["type"]
        words = registers(kind, row["order"], raw, int(row["count"]))
        assert len(words) == int(row["count"]), row
        image.append({"table": row["table"], "address": int(row["address"]), "registers": words})
        invalid = [sentinel(kind, text) for text in row["invalid"].split()] if row["invalid"] else []
        scale = row["scale"]
        if scale.startswith("pow10:"):
            factor = raws[scale[6:]]
            scale = None if factor == -0x8000 else f"1e{factor}"
        expected[row["name"]] = None if raw in invalid or scale is None else engineering(kind, raw, scale)
    return {"registers": image, "expected": expected}


def main():
    for path in sorted((HERE / "lists").glob("*.tsv")):
        with open(path, encoding="utf-8") as file:
            rows = list(csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t"))
        rng = random.Random(path.stem)
        values = image_of(rows, lambda row: made_up(rng, row["type"], row["name"]))
        def absent(row):
            return sentinel(row["type"], row["invalid"].split()[0]) if row["invalid"] else made_up(rng, row["type"], row["name"])
        images = {"values": values, "absent": image_of(rows, absent)}
        target = HERE / "images" / f"{path.stem}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(images, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"wrote {target.relative_to(HERE.parent.parent)}: {len(rows)} values")


main()

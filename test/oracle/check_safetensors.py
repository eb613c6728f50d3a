#!/usr/bin/env python3
"""Checks the header of safetensors files, from the published rules and without the safetensors library.

    python3 test/oracle/check_safetensors.py FILE...             OK and the tensors, or the name of the fault; exit 1 on any fault
    python3 test/oracle/check_safetensors.py --manifest FILE     the outcomes that a manifest.json expects; exit 1 on any other

Faults have the names of the reference implementation's errors.
"""
import json
import os
import struct
import sys

MAX_HEADER = 100_000_000
BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16,
        "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64}


class Fault(Exception):
    pass


def is_size(x):
    return type(x) is int and 0 <= x < 2 ** 64


def no_duplicates(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise Fault("InvalidHeaderDeserialization", "duplicate key")
    return dict(pairs)


def not_json(constant):
    raise Fault("InvalidHeaderDeserialization", constant)


def check(path):
    """[(name, dtype, shape, begin, end)] in file order, or Fault."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        first = f.read(8)
        if len(first) < 8:
            raise Fault("HeaderTooSmall", "%d bytes" % size)
        (length,) = struct.unpack("<Q", first)
        if length > MAX_HEADER:
            raise Fault("HeaderTooLarge", "%d bytes" % length)
        if 8 + length > size:
            raise Fault("InvalidHeaderLength", "%d bytes of header in a file of %d" % (length, size))
        raw = f.read(length)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise Fault("InvalidHeader", str(e))
    if not text.startswith("{"):
        raise Fault("InvalidHeaderStart", "the header begins with %r" % text[:1])
    try:
        header = json.loads(text, object_pairs_hook=no_duplicates, parse_constant=not_json)
    except (json.JSONDecodeError, RecursionError) as e:
        raise Fault("InvalidHeaderDeserialization", str(e))

    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise Fault("InvalidHeaderDeserialization", "__metadata__ maps strings to strings")
    tensors = []
    for name, info in header.items():
        if not isinstance(info, dict) or set(info) != {"dtype", "shape", "data_offsets"}:
            raise Fault("InvalidHeaderDeserialization", "%s: dtype, shape and data_offsets wanted" % name)
        dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
        if dtype not in BITS:
            raise Fault("InvalidHeaderDeserialization", "%s: dtype %r" % (name, dtype))
        if not isinstance(shape, list) or not all(map(is_size, shape)):
            raise Fault("InvalidHeaderDeserialization", "%s: shape %r" % (name, shape))
        if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(is_size, offsets)):
            raise Fault("InvalidHeaderDeserialization", "%s: data_offsets %r" % (name, offsets))
        tensors.append((name, dtype, shape, *offsets))
    tensors.sort(key=lambda t: (t[3], t[4]))

    at = 0
    for name, dtype, shape, begin, end in tensors:  # without holes and overlaps, from 0 to the end of the file
        if begin != at or end < begin:
            raise Fault("InvalidOffset", "%s: [%d, %d) after %d" % (name, begin, end, at))
        at = end
        elements = 1
        for axis in shape:
            elements *= axis
            if elements >= 2 ** 64:
                raise Fault("ValidationOverflow", "%s: shape %r" % (name, shape))
        bits = elements * BITS[dtype]
        if bits >= 2 ** 64:
            raise Fault("ValidationOverflow", "%s: shape %r" % (name, shape))
        if bits % 8:
            raise Fault("MisalignedSlice", "%s: %d bits" % (name, bits))
        if bits // 8 != end - begin:
            raise Fault("TensorInvalidInfo", "%s: %s %r needs %d bytes, has %d" % (name, dtype, shape, bits // 8, end - begin))
    if 8 + length + at != size:
        raise Fault("MetadataIncompleteBuffer", "the tensors end at byte %d, the file at %d" % (8 + length + at, size))
    return tensors


def main(arguments):
    failed = False
    if arguments[:1] == ["--manifest"] and len(arguments) == 2:
        for entry in json.load(open(arguments[1])):
            try:
                check(os.path.join(os.path.dirname(arguments[1]), entry["file"]))
                outcome = "OK"
            except Fault as fault:
                outcome = fault.args[0]
            same = outcome == entry["expected"]
            failed |= not same
            print("%-45s %-26s %s" % (entry["file"], outcome, "as expected" if same else "EXPECTED " + entry["expected"]))
    elif arguments and not arguments[0].startswith("-"):
        for path in arguments:
            try:
                tensors = check(path)
                print("%s: OK, %d tensors" % (path, len(tensors)))
                for name, dtype, shape, begin, end in tensors:
                    print("  %-6s %-20s %12d %12d  %s" % (dtype, shape, begin, end, name))
            except Fault as fault:
                failed = True
                print("%s: %s (%s)" % (path, *fault.args))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Writing and comparing golden files. Numbers are printed with repr: the shortest decimal that gives the same double."""
import json
import math
import os

import numpy as np

GOLDEN = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src", "test", "resources", "golden"))


def plain(value):
    """numpy -> what json prints; refuses what JSON cannot say."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        assert math.isfinite(value), value
    return value


def write(name, content, check):
    """One line per entry of the top level, and per entry of its lists of objects."""
    content = plain(content)
    path = os.path.join(GOLDEN, name)
    if check:
        with open(path, encoding="utf-8") as f:
            worst = compare(json.load(f), content, name)
        print("%-28s agrees, largest difference %.1e" % (name, worst))
        return
    lines = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inner = ",\n".join("  " + json.dumps(v, separators=(",", ":")) for v in value)
            lines.append(' %s: [\n%s\n ]' % (json.dumps(key), inner))
        else:
            lines.append(" %s: %s" % (json.dumps(key), json.dumps(value)))
    os.makedirs(GOLDEN, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        f.write("{\n" + ",\n".join(lines) + "\n}\n")
    print("%-28s %7d bytes" % (name, os.path.getsize(path)))


def compare(old, new, where):
    """Same structure, and numbers equal but for the order of summation; the largest relative difference."""
    if isinstance(old, dict):
        assert isinstance(new, dict) and old.keys() == new.keys(), where
        return max([compare(old[k], new[k], where + "." + k) for k in old], default=0.0)
    if isinstance(old, list):
        assert isinstance(new, list) and len(old) == len(new), where
        return max([compare(a, b, "%s[%d]" % (where, i)) for i, (a, b) in enumerate(zip(old, new))], default=0.0)
    if isinstance(old, float) or isinstance(new, float):
        difference = abs(old - new) / max(1.0, abs(old), abs(new))
        assert difference < 1e-9, "%s: %r, now %r" % (where, old, new)
        return difference
    assert old == new, "%s: %r, now %r" % (where, old, new)
    return 0.0

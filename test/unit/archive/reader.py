"""Reads one archive (a folder with `manifest` and `rdb`) by FORMAT.md alone and prints what it found.

Blocks compressed with brotli are expanded where the `brotli` module is installed; without it their tags and lengths are
checked and "expanded" is false.
"""
import hashlib
import json
import os
import struct
import sys

try:
    import brotli
except ImportError:
    brotli = None


def need(condition, what):
    if not condition:
        sys.exit(what)


folder = sys.argv[1]
with open(os.path.join(folder, "manifest"), "rb") as file:
    manifest_bytes = file.read()
with open(os.path.join(folder, "rdb"), "rb") as file:
    data = file.read()


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


manifest = json.loads(manifest_bytes)
need(manifest["format"] == "snapback-archive" and manifest["formatVersion"] == 1, "unsupported manifest")
need(canonical(manifest) == manifest_bytes, "manifest: not canonical")
covered = {name: value for name, value in manifest.items() if name != "authentication"}
need(hashlib.sha256(canonical(covered)).hexdigest() == manifest["authentication"]["digest"], "manifest: wrong digest")
artifact = manifest["artifacts"][0]
plain_size, block_size, count = int(artifact["plainSize"]), artifact["blockSize"], artifact["blockCount"]
need(len(data) == int(artifact["storedSize"]), "object: wrong size")

header = data[:64]
magic, version, codec, cipher, shift, kind, zero, backup_id, salt = struct.unpack("<8sHBBBBH32s16s", header)
need(magic == b"SNAPBACK" and version == 1 and cipher == 0 and kind == 1 and zero == 0, "header: not ours")
need({0: "none", 1: "brotli"}[codec] == artifact["codec"] and 1 << shift == block_size, "header: disagrees")
need(backup_id.rstrip(b"\0").decode() == manifest["backup"]["id"] and salt.hex() == artifact["salt"], "header: disagrees")


def open_frame(at, number, what):
    fields = struct.unpack("<IIIBBH", data[at:at + 16])
    need(fields[2] == number and fields[5] == 0, what + ": wrong header")
    payload = data[at + 16:at + 16 + fields[0]]
    tag = data[at + 16 + fields[0]:at + 32 + fields[0]]
    need(hashlib.sha256(header + data[at:at + 16] + payload).digest()[:16] == tag, what + ": wrong tag")
    return fields, payload


index_at, size, end = struct.unpack("<QQ8s", data[-24:])
need(end == b"SNAPEND1" and size == len(data), "footer: wrong")
fields, index = open_frame(index_at, count, "index")
need(fields[3] == 3 and fields[4] == 1 and index_at + 32 + fields[0] + 24 == len(data), "index: wrong place")
need(struct.unpack("<QI", index[:12]) == (plain_size, count), "index: disagrees")
lengths = struct.unpack("<%dI" % count, index[12:])

at, expanded, plain_hash, total = 64, True, hashlib.sha256(), 0
for number in range(count):
    what = "block %d" % number
    (stored, plain, _, flags, kind, _), payload = open_frame(at, number, what)
    last = number == count - 1
    need(stored == lengths[number] and kind == 0, what + ": wrong header")
    need(plain == (plain_size - number * block_size if last else block_size), what + ": wrong plain length")
    need(flags == (1 if last else 0) | (2 if stored == plain else 0), what + ": wrong flags")
    total += plain
    at += 32 + stored
    if not flags & 2:
        if brotli is None:
            expanded = False
            continue
        payload = brotli.decompress(payload)
        need(len(payload) == plain, what + ": expands wrongly")
    plain_hash.update(payload)
need(at == index_at and total == plain_size, "blocks: do not add up")
need(hashlib.sha256(data).hexdigest() == artifact["storedSha256"], "object: wrong SHA-256")
need(not expanded or plain_hash.hexdigest() == artifact["plainSha256"], "plain bytes: wrong SHA-256")
print(json.dumps({"plainSize": total, "plainSha256": plain_hash.hexdigest() if expanded else artifact["plainSha256"], "expanded": expanded}))

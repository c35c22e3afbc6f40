"""Reads one archive by FORMAT.md alone.

    reader.py FOLDER [OUT.rdb]

FOLDER is `backups/<backup id>` of a store. Checks everything, prints what it found, and, where OUT is given, writes the RDB there. The master keys of an
encrypted archive, 64 hexadecimal digits each, come from the environment variable MASTER_KEY, separated by commas. Needs
nothing but Python 3.8; with the module `cryptography` it is much faster. Blocks compressed with brotli are expanded where the
module `brotli` is installed: without it their tags and lengths are checked, and "expanded" is false.
"""
import hashlib
import hmac
import json
import os
import re
import struct
import sys

sys.dont_write_bytecode = True
try:
    import brotli
except ImportError:
    brotli = None
try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    AESGCM = None
    from aes_gcm import AesGcm


def need(condition, what):
    if not condition:
        sys.exit(what)


folder = sys.argv[1]
out = sys.argv[2] if len(sys.argv) > 2 else None
master_keys = [bytes.fromhex(text.strip()) for text in os.environ.get("MASTER_KEY", "").split(",") if text.strip()]


def read(name):
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def hkdf(secret, salt, info):
    """HKDF-SHA-256 (RFC 5869), 32 bytes: one round of the expansion."""
    return hmac.new(hmac.new(salt, secret, hashlib.sha256).digest(), info + b"\1", hashlib.sha256).digest()


def gcm_opener(key):
    """(nonce, ciphertext and tag, associated data) -> content, or None."""
    if AESGCM is None:
        return AesGcm(key).decrypt

    def decrypt(nonce, sealed, associated):
        try:
            return AESGCM(key).decrypt(nonce, sealed, associated)
        except InvalidTag:
            return None
    return decrypt


def canonical(value):
    """RFC 8785 for what a manifest holds: members sorted by UTF-16 code units."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(canonical(name) + ":" + canonical(value[name]) for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    need(not isinstance(value, float), "manifest: a number that is no integer")
    return json.dumps(value, ensure_ascii=False)


manifest_bytes = read("manifest")
need(manifest_bytes is not None, "manifest: missing; this is no archive")
manifest = json.loads(manifest_bytes)
need(manifest["format"] == "snapback-archive" and manifest["formatVersion"] in (1, 2), "unsupported manifest")
need(canonical(manifest).encode() == manifest_bytes, "manifest: not canonical")
covered = canonical({name: value for name, value in manifest.items() if name != "authentication"}).encode()
need(hashlib.sha256(covered).hexdigest() == manifest["authentication"]["digest"], "manifest: wrong digest")
backup_id = manifest["backup"]["id"]
need(os.path.basename(os.path.abspath(folder)) == backup_id, "manifest: of another backup")
artifact = manifest["artifacts"][0]
plain_size, block_size, count = int(artifact["plainSize"]), artifact["blockSize"], artifact["blockCount"]
need(count == max(1, -(-plain_size // block_size)), "manifest: wrong number of blocks")
need(artifact["codec"] in ("none", "brotli", "lz4") and artifact["cipher"] in ("none", "aes-256-gcm"), "unsupported codec or cipher")
encrypted = artifact["cipher"] != "none"
need(encrypted == (manifest["authentication"]["hmac"] is not None), "manifest: HMAC without cipher, or cipher without HMAC")


def unwrap():
    """The backup's key, by whichever of the master keys wraps it."""
    suffix = re.fullmatch(r"rdb(\.\d+)?", artifact["object"]).group(1) or ""
    for master in master_keys:
        master_id = hashlib.sha256(b"snapback master key id" + master).hexdigest()[:8]
        wrapped = read("key." + master_id + suffix)
        if wrapped is None:
            continue
        need(len(wrapped) == 76 and wrapped[:16] == b"SNAPKEY1" + master_id.encode(), "key: not wrapped by this master key")
        wrapping = hkdf(master, b"snapback", b"archive keys v1")
        key = gcm_opener(wrapping)(wrapped[16:28], wrapped[28:], wrapped[:16] + backup_id.encode())
        need(key is not None, "key: wrong tag")
        return key
    sys.exit("key: none of the master keys given wraps it")


backup_key = unwrap() if encrypted else None
if encrypted:
    proof = hmac.new(hkdf(backup_key, b"", b"snapback v1 manifest"), covered, hashlib.sha256).hexdigest()
    need(hmac.compare_digest(proof, manifest["authentication"]["hmac"]), "manifest: wrong HMAC")

data = read(artifact["object"])
need(data is not None, "object: missing")
need(len(data) == int(artifact["storedSize"]), "object: wrong size")
header = data[:64]
expected = struct.pack(
    "<8sHBBBBH32s16s", b"SNAPBACK", 1, {"none": 0, "brotli": 1, "lz4": 3}[artifact["codec"]], 1 if encrypted else 0, block_size.bit_length() - 1, 1, 0,
    backup_id.encode(), bytes.fromhex(artifact["salt"]))
need(header == expected, "header: disagrees with the manifest")
open_sealed = gcm_opener(hkdf(backup_key, header[48:], b"snapback v1 data")) if encrypted else None


def open_frame(at, frame_header, what):
    """The payload of the frame whose header must be this one."""
    need(data[at:at + 16] == frame_header, what + ": wrong header")
    stored = struct.unpack("<I", frame_header[:4])[0]
    sealed = data[at + 16:at + 32 + stored]
    if open_sealed:
        content = open_sealed(frame_header[13:14] + bytes(7) + frame_header[8:12], sealed, header + frame_header)
        need(content is not None, what + ": wrong tag")
        return content
    need(hashlib.sha256(header + frame_header + sealed[:-16]).digest()[:16] == sealed[-16:], what + ": wrong tag")
    return sealed[:-16]


def expand_lz4(block, size, what):
    """The LZ4 block behind its length."""
    need(struct.unpack("<I", block[:4])[0] == size, what + ": another length than it should have")
    out, at = bytearray(), 4

    def length(nibble):
        nonlocal at
        total = nibble
        while nibble == 15:
            total += block[at]
            at += 1
            if block[at - 1] != 255:
                break
        return total

    while at < len(block):
        token = block[at]
        at += 1
        literals = length(token >> 4)
        out += block[at:at + literals]
        at += literals
        if at == len(block):
            break
        distance = block[at] | block[at + 1] << 8
        at += 2
        match = length(token & 15) + 4
        need(0 < distance <= len(out), what + ": copies from before its beginning")
        while match > 0:
            piece = out[-distance:][:match]
            out += piece
            match -= len(piece)
    need(len(out) == size, what + ": expands wrongly")
    return bytes(out)


index_size = 12 + 4 * count
index_at = len(data) - 24 - 32 - index_size
need(data[-24:] == struct.pack("<QQ8s", index_at, len(data), b"SNAPEND1"), "footer: wrong")
index = open_frame(index_at, struct.pack("<IIIBBH", index_size, index_size, count, 3, 1, 0), "index")
need(struct.unpack("<QI", index[:12]) == (plain_size, count), "index: disagrees with the manifest")
lengths = struct.unpack("<%dI" % count, index[12:])
need(64 + sum(lengths) + 32 * count == index_at, "index: lengths do not add up")

at, expanded, content = 64, True, []
for number, stored in enumerate(lengths):
    what = "block %d" % number
    last = number == count - 1
    plain = plain_size - number * block_size if last else block_size
    need(stored <= plain, what + ": longer than its content")
    raw = stored == plain
    payload = open_frame(at, struct.pack("<IIIBBH", stored, plain, number, (1 if last else 0) | (2 if raw else 0), 0, 0), what)
    at += 32 + stored
    if not raw and artifact["codec"] == "lz4":
        payload = expand_lz4(payload, plain, what)
    elif not raw:
        if brotli is None:
            expanded = False
            continue
        payload = brotli.decompress(payload)
        need(len(payload) == plain, what + ": expands wrongly")
    content.append(payload)
need((encrypted and manifest["formatVersion"] == 2 and artifact["storedSha256"] is None) or hashlib.sha256(data).hexdigest() == artifact["storedSha256"], "object: wrong SHA-256")
need(not expanded or hashlib.sha256(b"".join(content)).hexdigest() == artifact["plainSha256"], "plain bytes: wrong SHA-256")
if out:
    need(expanded, "install the module brotli to expand this archive")
    with open(out, "xb") as file:
        file.write(b"".join(content))
print(json.dumps({
    "plainSize": plain_size, "plainSha256": artifact["plainSha256"], "expanded": expanded, "encrypted": encrypted,
    "gcm": None if not encrypted else "aes_gcm.py" if AESGCM is None else "cryptography",
}))

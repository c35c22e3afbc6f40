"""AES-256-GCM with 12-byte nonces and 16-byte tags, in plain Python (FIPS 197, NIST SP 800-38D). Some 200 KiB a second; not for secrets of
one's own: its timing tells about them.
"""
import hmac


def times_two(a):
    return (a << 1 ^ (0x1B if a & 0x80 else 0)) & 0xFF


def make_sbox():
    box, p, q = [0x63] * 256, 1, 1
    while True:
        p ^= times_two(p)  # times 3
        for shift in (1, 2, 4):  # divided by 3
            q ^= q << shift
        q = q & 0xFF ^ (0x09 if q & 0x80 else 0)
        box[p] = 0x63
        for turn in range(5):
            box[p] ^= (q << turn | q >> 8 - turn) & 0xFF
        if p == 1:
            return box


SBOX = make_sbox()
# SubBytes and MixColumns of a byte in each of the four rows of a column, as one word.
TABLES = []
for row in range(4):
    words = []
    for s in SBOX:
        two = times_two(s)
        column = (two, s, s, two ^ s)
        words.append(int.from_bytes(bytes(column[(i - row) % 4] for i in range(4)), "big"))
    TABLES.append(words)


def expand_key(key):
    words = [int.from_bytes(key[i:i + 4], "big") for i in range(0, 32, 4)]
    round_constant = 1
    for i in range(8, 60):
        word = words[-1]
        if i % 8 == 0:
            word = (word << 8 | word >> 24) & 0xFFFFFFFF
        if i % 4 == 0:
            word = int.from_bytes(bytes(SBOX[b] for b in word.to_bytes(4, "big")), "big")
        if i % 8 == 0:
            word ^= round_constant << 24
            round_constant = times_two(round_constant)
        words.append(words[i - 8] ^ word)
    return words


def encrypt_block(words, block):
    t0, t1, t2, t3 = TABLES
    a, b, c, d = (int.from_bytes(block[i:i + 4], "big") ^ words[i // 4] for i in range(0, 16, 4))
    for k in range(4, 56, 4):
        a, b, c, d = (
            t0[a >> 24] ^ t1[b >> 16 & 255] ^ t2[c >> 8 & 255] ^ t3[d & 255] ^ words[k],
            t0[b >> 24] ^ t1[c >> 16 & 255] ^ t2[d >> 8 & 255] ^ t3[a & 255] ^ words[k + 1],
            t0[c >> 24] ^ t1[d >> 16 & 255] ^ t2[a >> 8 & 255] ^ t3[b & 255] ^ words[k + 2],
            t0[d >> 24] ^ t1[a >> 16 & 255] ^ t2[b >> 8 & 255] ^ t3[c & 255] ^ words[k + 3],
        )
    s, out, state = SBOX, 0, (a, b, c, d)
    for i in range(4):
        word = s[state[i] >> 24] << 24 | s[state[(i + 1) % 4] >> 16 & 255] << 16 | s[state[(i + 2) % 4] >> 8 & 255] << 8 | s[state[(i + 3) % 4] & 255]
        out = out << 32 | word ^ words[56 + i]
    return out


class AesGcm:
    def __init__(self, key):
        self.words = expand_key(key)
        # Products of the hash key with every byte at every place: sixteen look-ups a block.
        powers, v = [], encrypt_block(self.words, bytes(16))
        for _ in range(128):
            powers.append(v)
            v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
        self.products = []
        for place in range(16):
            of = [0] * 256
            for byte in range(1, 256):
                low = byte & -byte
                of[byte] = of[byte ^ low] ^ powers[8 * place + 8 - low.bit_length()]
            self.products.append(of)

    def ghash(self, data, y=0):
        for at in range(0, len(data), 16):
            y ^= int.from_bytes(data[at:at + 16].ljust(16, b"\0"), "big")
            total = 0
            for of, byte in zip(self.products, y.to_bytes(16, "big")):
                total ^= of[byte]
            y = total
        return y

    def decrypt(self, nonce, sealed, associated):
        """The content of ciphertext and tag; None when the tag is wrong."""
        payload, tag = sealed[:-16], sealed[-16:]
        lengths = (8 * len(associated)).to_bytes(8, "big") + (8 * len(payload)).to_bytes(8, "big")
        y = self.ghash(lengths, self.ghash(payload, self.ghash(associated)))
        expected = y ^ encrypt_block(self.words, nonce + b"\0\0\0\1")
        if not hmac.compare_digest(expected.to_bytes(16, "big"), tag):
            return None
        out = bytearray()
        for number, at in enumerate(range(0, len(payload), 16), 2):
            block = payload[at:at + 16]
            stream = encrypt_block(self.words, nonce + number.to_bytes(4, "big")).to_bytes(16, "big")
            out += bytes(x ^ y for x, y in zip(block, stream))
        return bytes(out)

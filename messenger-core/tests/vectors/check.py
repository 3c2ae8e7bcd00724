"""Opens the known answers of encryption.json, from the description in docs/security.md and the RFCs alone.

Needs nothing but Python 3. Prints how many values were opened, and ends with 1 if one is not what it should be.
"""

import json
import pathlib
import struct
import sys

FIRST = 1024
MASK = 0xFFFFFFFF


def rounds(state: list[int]) -> list[int]:
    """The twenty rounds of ChaCha20 (RFC 8439, section 2.3)."""
    x = list(state)

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for into, plus, turned, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[into] = (x[into] + x[plus]) & MASK
            mixed = x[turned] ^ x[into]
            x[turned] = ((mixed << by) | (mixed >> (32 - by))) & MASK

    for _ in range(10):
        for column in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter(*column)
        for diagonal in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(*diagonal)
    return x


def state(key: bytes, rest: bytes) -> list[int]:
    return [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), *struct.unpack("<4I", rest)]


def block(key: bytes, counter: int, nonce: bytes) -> bytes:
    begin = state(key, struct.pack("<I", counter) + nonce)
    return struct.pack("<16I", *((a + b) & MASK for a, b in zip(begin, rounds(begin))))


def decrypt(sealed: bytes, associated: bytes, nonce: bytes, key: bytes) -> bytes:
    """XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03)."""
    mixed = rounds(state(key, nonce[:16]))
    key, nonce = struct.pack("<8I", *mixed[:4], *mixed[12:]), bytes(4) + nonce[16:]
    inside, tag = sealed[:-16], sealed[-16:]
    one_time = block(key, 0, nonce)
    r = int.from_bytes(one_time[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    s, sum_ = int.from_bytes(one_time[16:32], "little"), 0
    padded = [part + bytes(-len(part) % 16) for part in (associated, inside)]
    said = b"".join(padded) + struct.pack("<QQ", len(associated), len(inside))
    for at in range(0, len(said), 16):
        sum_ = (sum_ + int.from_bytes(said[at : at + 16] + b"\x01", "little")) * r % (2**130 - 5)
    if ((sum_ + s) % 2**128).to_bytes(16, "little") != tag:
        raise ValueError("it was changed")
    stream = b"".join(block(key, 1 + n, nonce) for n in range(-(-len(inside) // 64)))
    return bytes(a ^ b for a, b in zip(inside, stream))


def opened(key: bytes, place: bytes, sealed: bytes) -> str:
    form, length = sealed[1], int.from_bytes(sealed[6:10], "big")
    assert sealed[0] == 0xFF and form in (1, 2)
    plain, at = b"", 10
    for piece, size in ((1, min(length, FIRST)), (2, length - FIRST)):
        if size <= 0:
            break
        nonce, inside = sealed[at : at + 24], sealed[at + 24 : at + 24 + size + 16]
        plain += decrypt(inside, place + sealed[1:10] + bytes([piece]), nonce, key)
        at += 24 + size + 16
    assert at == len(sealed)
    return (plain.rstrip(b"\0") if form == 2 else plain).decode()


def unwrapped(kek: bytes, owner: bytes, number: int, wrapped: bytes) -> bytes:
    assert wrapped[0] == 1
    place = b"messenger data key" + owner + number.to_bytes(4, "big")
    return decrypt(wrapped[29:], place, wrapped[5:29], kek)


def main() -> None:
    known = json.loads(pathlib.Path(__file__).with_name("encryption.json").read_text())
    key = bytes.fromhex(known["dataKey"])
    for value in known["values"]:
        place, sealed = bytes.fromhex(value["place"]), bytes.fromhex(value["sealed"])
        if opened(key, place, sealed) != value["plain"]:
            sys.exit(f"a {value['field']} is not what it should be")
        try:
            opened(key, place[:-1] + bytes([place[-1] ^ 1]), sealed)
        except ValueError:
            continue
        sys.exit(f"a {value['field']} opens at another place")
    wrap = {name: bytes.fromhex(text) for name, text in known["wrapped"].items() if name != "number"}
    if unwrapped(wrap["kek"], wrap["owner"], known["wrapped"]["number"], wrap["wrapped"]) != key:
        sys.exit("the data key is not what it should be")
    print(f"{len(known['values'])} values and a data key opened")


main()

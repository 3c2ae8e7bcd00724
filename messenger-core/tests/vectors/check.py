"""Opens the known answers of encryption.json with libsodium, from the description in docs/security.md alone.

Needs PyNaCl. Prints how many values were opened, and ends with 1 if one is not what it should be.
"""

import json
import pathlib
import sys

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt
from nacl.exceptions import CryptoError

FIRST = 1024


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


known = json.loads(pathlib.Path(__file__).with_name("encryption.json").read_text())
key = bytes.fromhex(known["dataKey"])
for value in known["values"]:
    place, sealed = bytes.fromhex(value["place"]), bytes.fromhex(value["sealed"])
    if opened(key, place, sealed) != value["plain"]:
        sys.exit(f"a {value['field']} is not what it should be")
    try:
        opened(key, place[:-1] + bytes([place[-1] ^ 1]), sealed)
        sys.exit(f"a {value['field']} opens at another place")
    except CryptoError:
        pass
wrap = known["wrapped"]
data_key = unwrapped(
    bytes.fromhex(wrap["kek"]), bytes.fromhex(wrap["owner"]), wrap["number"], bytes.fromhex(wrap["wrapped"])
)
if data_key != key:
    sys.exit("the data key is not what it should be")
print(f"{len(known['values'])} values and a data key opened")

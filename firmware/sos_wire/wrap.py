"""A new key for a pole, wrapped under the one that it has: nobody on the way can read it, or put another in its place.

16 random bytes, the new key with a stream of HMAC-SHA-256 laid over it, and a tag over both, which is checked first.
"""

from sos_wire.handshake import derived, named_seal
from sos_wire.seal import KEY_BYTES, TAG_BYTES, Seal, xor

NONCE = 16
WRAPPED = NONCE + KEY_BYTES + TAG_BYTES


def wrap(key: bytes, nonce: bytes, new: bytes) -> bytes:
    """``new`` for whoever has ``key``. ``nonce``: 16 random bytes, never used before with that key."""
    assert len(nonce) == NONCE
    master = Seal(key)
    said = nonce + _mixed(master, nonce + new)
    return said + named_seal(master, "sos wrap").tag(said)


def unwrap(key: bytes, wrapped: bytes) -> bytes:
    """The new key, or nothing if that was not wrapped under ``key``."""
    master = Seal(key)
    said = wrapped[: NONCE + KEY_BYTES]
    if not named_seal(master, "sos wrap").check(said, wrapped[NONCE + KEY_BYTES :]):
        return b""
    return _mixed(master, said)


def fingerprint(key: bytes) -> str:
    """Names a key without telling anything of it: 16 hex digits."""
    return derived(Seal(key), "sos fingerprint", b"")[:8].hex()


def _mixed(master: Seal, said: bytes) -> bytes:
    """What follows the nonce, with the stream of that nonce laid over it."""
    return xor(derived(master, "sos wrap", said[:NONCE]), said[NONCE:])

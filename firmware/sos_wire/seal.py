"""The seal: HMAC-SHA-256, truncated, and the keys and the byte stream that are derived with it."""

from hashlib import sha256

KEY_BYTES = 32
TAG_BYTES = 8  # 2^64 guesses at some hundred frames a second; the wire has no room for more
_BLOCK_BYTES = 64  # of SHA-256


def xor(one: bytes, other: bytes) -> bytes:
    """Two of the same length, bit by bit."""
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).to_bytes(len(one), "little")


class Seal:
    """A key made ready: both HMAC pads are computed once, so that a tag costs two hashes."""

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES
        block = key + bytes(_BLOCK_BYTES - KEY_BYTES)
        self._inner = xor(block, b"\x36" * _BLOCK_BYTES)
        self._outer = xor(block, b"\x5c" * _BLOCK_BYTES)

    def digest(self, data: bytes) -> bytes:
        """HMAC-SHA-256 of ``data``, 32 bytes."""
        inner = sha256(self._inner)
        inner.update(data)
        outer = sha256(self._outer)
        outer.update(inner.digest())
        digest: bytes = outer.digest()
        return digest

    def tag(self, data: bytes) -> bytes:
        """The first TAG_BYTES of the digest."""
        return self.digest(data)[:TAG_BYTES]

    def check(self, data: bytes, tag: bytes) -> bool:
        """Whether ``tag`` is that of ``data``; looks at every byte, so that time does not tell which is wrong."""
        right = self.tag(data)
        if len(tag) != TAG_BYTES:
            return False
        wrong = 0
        for index in range(TAG_BYTES):
            wrong |= right[index] ^ tag[index]
        return wrong == 0


def derive(key: bytes, label: str, data: bytes = b"") -> bytes:
    """A key of 32 bytes for one purpose: HMAC of the label, a zero byte and ``data``."""
    return Seal(key).digest(label.encode() + b"\x00" + data)


class Stream:
    """Bytes that nobody without the seed can foresee: HMAC of a counter. The only randomness in the cores."""

    def __init__(self, seed: bytes) -> None:
        self._seal = Seal(seed)
        self._counter = 0
        self._left = b""

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        while len(self._left) < count:
            self._left += self._seal.digest(self._counter.to_bytes(8, "little"))
            self._counter += 1
        taken = self._left[:count]
        self._left = self._left[count:]
        return taken

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit`` - 1, all equally likely; ``limit`` up to 2^24."""
        assert 0 < limit <= 0x1000000
        fair = 0x1000000 - 0x1000000 % limit
        while True:  # ends: more than half of all draws are fair
            drawn = self.take(3)
            value = drawn[0] | drawn[1] << 8 | drawn[2] << 16
            if value < fair:
                return value % limit

    def about(self, middle: int, spread: int) -> int:
        """A number from ``middle - spread`` to ``middle + spread``."""
        return middle - spread + self.below(2 * spread + 1)

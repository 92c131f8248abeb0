"""The pole's seal on a press: checked again, at any later time, by whoever has that pole's key."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from sos_wire import messages
from sos_wire.frame import TALK_UP, parse
from sos_wire.handshake import NONCE_BYTES, session_keys
from sos_wire.seal import Seal

GOOD, BAD, UNKNOWN, NONE = "good", "bad", "unknown", "none"
# Before the message in the body of a talk: flags and two acknowledgements; the message's lane and number.
_TALK_BYTES, _MESSAGE_BYTES = 5, 3
_MESSAGE = 2  # the flag


def check(body: Mapping[str, Any], keys: Mapping[str, Sequence[bytes]]) -> tuple[str, str]:
    """State of the seal of a press as an agent wrote it down, and why, in words.

    ``keys``: of each pole, its key and those it had before. GOOD only if one of them sealed a frame that tells exactly
    this press.
    """
    pole = str(body.get("press")).partition("/")[0]
    if body.get("frame") is None:
        return NONE, "the record holds no frame of the pole"
    if not keys.get(pole):
        return UNKNOWN, f"no key of {pole} at hand"
    raw, nonces = _bytes(body.get("frame")), _bytes(body.get("nonces"))
    frame = parse(raw)
    if isinstance(frame, str) or len(nonces) != 2 * NONCE_BYTES:
        return BAD, "what the record holds is no sealed frame"
    if not any(_sealed_with(key, nonces, raw) for key in keys[pole]):
        return BAD, f"the frame was not sealed with the key of {pole}, or was changed; has its key been replaced since?"
    if not frame.body[0] & _MESSAGE or not _same(
        messages.unpack(frame.body[_TALK_BYTES + _MESSAGE_BYTES :]), body, pole
    ):
        return BAD, "the sealed frame tells of something else than the record"
    return GOOD, f"sealed in session {frame.session:08x} as frame {frame.sequence}"


def _sealed_with(key: bytes, nonces: bytes, raw: bytes) -> bool:
    number, up, _ = session_keys(Seal(key), nonces)
    frame = parse(raw)
    if isinstance(frame, str) or frame.kind != TALK_UP or frame.session != number or len(frame.body) < _TALK_BYTES:
        return False
    return up.check(frame.signed, frame.tag)


def _same(said: object, body: Mapping[str, Any], pole: str) -> bool:
    if not isinstance(said, messages.Press):
        return False
    press = f"{pole}/{said.incarnation:016x}/{said.boot}/{said.press}"
    told = (said.kind, said.pressed_at_ms, said.repeats)
    written = tuple(body.get(name) for name in ("kind", "pressed_at_ms", "repeats"))
    return press == str(body.get("press")).partition("!")[0] and told == written


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return b""

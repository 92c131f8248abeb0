"""The poles' keys that came over the wire: ``<data folder>/pole-keys.json``, ours alone, replaced whole or not at all.

The site's key file is the technician's, and lies where a sandboxed program cannot write. What stands here counts as
long as that file has, for its pole, the key that it had when this was written: what a technician brings comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from sos_agent.core import effects, events
from sos_contract.site import KEY_BYTES
from sos_edge.files import replace
from sos_wire.wrap import fingerprint

FILE_NAME = "pole-keys.json"


class Kept(msgspec.Struct, frozen=True):
    """``given``: fingerprint of the pole's key in the site's key file; ``key`` and ``next`` as hex."""

    given: str
    key: str
    next: str = ""


def read_kept(folder: Path, given: Mapping[str, bytes]) -> tuple[dict[str, Kept], str]:
    """What counts still, by pole, and what is wrong with the file, in one line; ``given``: the site's key file."""
    path = folder / FILE_NAME
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=dict[str, Kept])
        for one in kept.values():
            if len(bytes.fromhex(one.key)) != KEY_BYTES or len(bytes.fromhex(one.next)) not in (0, KEY_BYTES):
                raise ValueError("a key of the wrong length")
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"{path}: cannot be read ({error.strerror}); poles whose key was replaced stay silent"
    except (ValueError, RecursionError) as error:
        return {}, f"{path}: damaged ({error}); give poles whose key was replaced a new one by cable"
    return {pole: one for pole, one in kept.items() if pole in given and one.given == fingerprint(given[pole])}, ""


class KeyStore:
    """Completes as ``KeysStored`` or ``KeysNotStored``, by ``deliver``, which ``call_soon`` brings to the loop."""

    def __init__(
        self,
        folder: Path,
        given: Mapping[str, bytes],
        *,
        call_soon: Callable[[Callable[[], None]], object],
        deliver: Callable[[events.Event], None],
    ) -> None:
        self._path = folder / FILE_NAME
        self._given = given
        self._kept, _ = read_kept(folder, given)
        self._call_soon = call_soon
        self._deliver = deliver
        # A thread of its own: a press must not wait for this write, nor it for the outbox.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pole-keys")

    def carry_out(self, effect: effects.StoreKeys) -> None:
        """One after the other, in the order given."""
        self._thread.submit(self._store, effect)

    def close(self) -> None:
        """What was begun ends; nobody hears of it."""
        self._thread.shutdown(cancel_futures=True)

    def _store(self, effect: effects.StoreKeys) -> None:
        given = self._given[effect.pole]
        kept = dict(self._kept)
        if effect.key == given and not effect.next:
            kept.pop(effect.pole, None)
        else:
            kept[effect.pole] = Kept(fingerprint(given), effect.key.hex(), effect.next.hex())
        event: events.Event = events.KeysStored(effect)
        try:
            replace(self._path, msgspec.json.encode(kept))
            self._kept = kept
        except OSError as error:
            event = events.KeysNotStored(effect, error.strerror or str(error))
        self._call_soon(lambda: self._deliver(event))

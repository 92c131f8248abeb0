"""The poles' keys that came over the wire: ``<data folder>/pole-keys.json``, ours alone, replaced whole or not at all.

The site's key file is the technician's, and lies where a sandboxed program cannot write. What stands here counts as
long as that file has, for its pole, the key that it had when this was written: what a technician brings comes first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import msgspec

from sos_agent.core import effects, events
from sos_contract.site import KEY_BYTES
from sos_edge.files import replace
from sos_wire.wrap import fingerprint

FILE_NAME = "pole-keys.json"
CLOSE_S = 1.0  # longer than any write of so small a file, but on a disk that hangs


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
        mend = "move it away, and give poles whose key was replaced a new one by cable"
        return {}, f"{path}: damaged ({error}); {mend}"
    return {pole: one for pole, one in kept.items() if pole in given and one.given == fingerprint(given[pole])}, ""


class KeyStore:
    """Completes as ``KeysStored`` or ``KeysNotStored``, by ``deliver``, which ``call_soon`` brings to the loop.

    A file that cannot be read is not written over: it may hold the only copy of other poles' keys.
    """

    def __init__(
        self,
        folder: Path,
        given: Mapping[str, bytes],
        *,
        call_soon: Callable[[Callable[[], None]], object],
        deliver: Callable[[events.Event], None],
    ) -> None:
        self._folder = folder
        self._given = given
        self._kept, self._wrong = read_kept(folder, given)
        self._call_soon = call_soon
        self._deliver = deliver
        # A thread of its own: a press must not wait for this write, nor it for the outbox.
        self._waiting: SimpleQueue[effects.StoreKeys | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="pole-keys", daemon=True)
        self._thread.start()

    def carry_out(self, effect: effects.StoreKeys) -> None:
        """One after the other, in the order given."""
        self._waiting.put(effect)

    def close(self) -> None:
        """What was given is written, if the disk takes it within a second."""
        self._waiting.put(None)
        self._thread.join(CLOSE_S)

    # --- in the thread

    def _run(self) -> None:
        for effect in iter(self._waiting.get, None):
            event = self._store(effect)
            with suppress(RuntimeError):  # the loop has been closed: nobody is left to hear it
                self._call_soon(partial(self._deliver, event))

    def _store(self, effect: effects.StoreKeys) -> events.Event:
        if self._wrong:
            self._kept, self._wrong = read_kept(self._folder, self._given)
        if self._wrong:
            return events.KeysNotStored(effect, self._wrong)
        given = self._given[effect.pole]
        kept = dict(self._kept)
        if effect.key == given and not effect.next:
            kept.pop(effect.pole, None)
        else:
            kept[effect.pole] = Kept(fingerprint(given), effect.key.hex(), effect.next.hex())
        try:
            replace(self._folder / FILE_NAME, msgspec.json.encode(kept))
        except OSError as error:
            return events.KeysNotStored(effect, error.strerror or str(error))
        self._kept = kept
        return events.KeysStored(effect)

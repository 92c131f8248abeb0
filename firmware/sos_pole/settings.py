"""What a pole is told when it is provisioned: who it is, its key, which pin is what; from ``settings.json``.

Whoever writes that file checks it thoroughly; here stands what must hold for the pole to run at all.
"""

from binascii import unhexlify

LINKS = ("uart", "rs485", "usb")


class SettingsError(ValueError):
    """The settings cannot be used; the message says what is wrong, in one line."""


class Settings:
    """``given``: the file's content. ``board`` is a pin map of ``hardware/boards``; see ``firmware/README.md``."""

    def __init__(self, given: "dict[str, dict[str, str]]") -> None:
        try:  # what JSON gives may be anything: int, unhexlify and tuple judge it, the type checker cannot
            link = given["link"]
            self.pole = str(given["pole"])
            self.address = int(given["address"])  # type: ignore[call-overload]
            self.key = unhexlify(given["key"])  # type: ignore[arg-type]
            self.silent_button = bool(given.get("silent_button"))
            self.link = link["kind"]
            self.baud = int(link.get("baud", 115200))
            self.board: "dict[str, dict[str, int]]" = given["board"]  # type: ignore[assignment]
            self.chip = given["board"]["chip"]
            self.levels: "tuple[int, int, int]" = tuple(self.board["levels"])  # type: ignore[assignment]
            for name in ("button", "lamp", "journal"):
                self.board[name]
            if self.silent_button:
                self.board["silent"]
            if self.link != "usb":
                self.board["uart"]
            right = len(self.key) == 32 and self.link in LINKS and 0 < self.address < 65535
            if not right or self.baud < 1 or len(self.levels) != 3:
                raise ValueError
        except KeyError as error:
            raise SettingsError("settings.json lacks " + str(error.args[0])) from None
        except (TypeError, ValueError, AttributeError, OverflowError):
            raise SettingsError("settings.json: key (64 hex digits), address, link or board is wrong") from None

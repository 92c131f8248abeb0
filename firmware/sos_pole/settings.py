"""What a pole is told when it is provisioned: who it is, its key, which pin is what; from ``settings.json``."""

from binascii import unhexlify

LINKS = ("uart", "rs485", "usb")
_KNOWN = ("version", "pole", "address", "key", "silent_button", "link", "board")
_BOARD = (
    "name",
    "chip",
    "uart",
    "button",
    "silent",
    "levels",
    "tamper",
    "mains",
    "supply",
    "temperature",
    "lamp",
    "lamp_sense",
    "sounder",
    "beacon",
    "journal",
)


class SettingsError(ValueError):
    """The settings cannot be used; the message says what is wrong, in one line."""


def _need(good: bool, what: str) -> None:
    if not good:
        raise SettingsError("settings.json: " + what)


def _number(where: "dict[str, object]", name: str, low: int, high: int) -> int:
    value = where.get(name)
    _need(isinstance(value, int) and low <= value <= high, "%s must be %d to %d" % (name, low, high))
    return value  # type: ignore[return-value]


class Settings:
    """Checked settings. ``board`` is the pin map as it stands in ``hardware/boards``; see ``firmware/README.md``."""

    def __init__(self, given: "dict[str, object]") -> None:
        _need(isinstance(given, dict), "not a table")
        for name in given:
            _need(name in _KNOWN, "unknown name '%s'" % name)
        _need(given.get("version") == 1, "version must be 1")
        self.pole = given.get("pole")
        _need(isinstance(self.pole, str) and bool(self.pole), "no pole id")
        self.address = _number(given, "address", 1, 65534)
        try:
            self.key = unhexlify(given["key"])  # type: ignore[arg-type]
        except (KeyError, ValueError, TypeError):
            self.key = b""
        _need(len(self.key) == 32, "key must be 64 hex digits")
        self.silent_button = given.get("silent_button", False) is True
        link = given.get("link")
        _need(isinstance(link, dict) and link.get("kind") in LINKS, "link.kind must be one of " + ", ".join(LINKS))
        self.link: str = link["kind"]  # type: ignore[index]
        self.baud = _number(link, "baud", 9600, 1000000)  # type: ignore[arg-type]
        self.board: "dict[str, dict[str, int]]" = {}
        self._read_board(given.get("board"))

    def _read_board(self, board: object) -> None:
        _need(isinstance(board, dict), "no board; copy one from hardware/boards")
        self.board = board  # type: ignore[assignment]
        for name in self.board:
            _need(name in _BOARD, "unknown name 'board.%s'" % name)
        for name in ("chip", "button", "levels", "lamp", "journal"):
            _need(name in self.board, "no board.%s" % name)
        levels = self.board["levels"]
        _need(
            isinstance(levels, list) and len(levels) == 3 and levels == sorted(levels), "board.levels must be 3, rising"
        )
        self.levels: "tuple[int, int, int]" = tuple(levels)  # type: ignore[arg-type,assignment]
        _need("silent" in self.board or not self.silent_button, "a silent button needs board.silent")
        _need(self.link == "usb" or "uart" in self.board, "a link of that kind needs board.uart")

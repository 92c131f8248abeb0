"""The site file (TOML): the station, its reporting points, their lines, poles and inputs; and the keys beside it."""

from __future__ import annotations

import difflib
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from sos_contract.errors import UserError
from sos_contract.resources import data_dir
from sos_contract.toml import read_toml

KEY_BYTES = 32  # HMAC-SHA-256 gains nothing from a longer key
# One RS-485 pair at 115,200 baud carries the 8 poles of the design's figure; 16 leave half the pair idle.
MAX_POLES_ON_A_LINE = 16
MAX_POINTS = 1000
# An agent may offer a press again for 30 days after its receipt: the station must know it for longer than that.
MIN_DAYS = 60
MAX_DAYS = 36_500

Found = TypeVar("Found")


class SiteError(UserError, ValueError):
    """The site or key file cannot be used; the message says what, where and what to do, in one line."""


class Name(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name in the town's languages."""

    th: str
    en: str


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Degrees, WGS 84; ``approximate`` until somebody has surveyed it."""

    lat: float
    lon: float
    approximate: bool = False


class Pole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pole on a line. ``address`` is its own on that line (1 to 65534)."""

    id: str
    address: int
    name: Name | None = None
    place: Place | None = None
    silent_button: bool = False


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A serial line: ``port`` by id or path; ``search`` are patterns to look through when it has gone."""

    port: str
    search: tuple[str, ...] = ()
    baud: int = 115200
    shared: bool = False  # half-duplex RS-485 pair: listen before talking
    pole: tuple[Pole, ...]


class Button(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The point's own button on a GPIO. ``supervised`` is false where no resistor reading tells a cut from silence."""

    id: str
    gpio: int
    supervised: bool = False
    beacon_gpio: int | None = None
    siren_gpio: int | None = None


class Point(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reporting point: one agent, its lines and its own button."""

    id: str
    name: Name
    place: Place | None = None
    data: str = ""  # folder of the outbox; default /var/lib/safezone/<id>
    line: tuple[Line, ...] = ()
    button: Button | None = None

    @property
    def data_path(self) -> Path:
        return Path(self.data or f"/var/lib/safezone/{self.id}")

    def poles(self) -> Iterator[Pole]:
        for line in self.line:
            yield from line.pole


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files for mutual TLS, relative to the site file."""

    ca: str
    cert: str = ""
    key: str = ""


class Station(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The receiving end, and the brokers through which it is reached, in order of preference."""

    id: str
    name: Name
    brokers: tuple[str, ...]
    data: str = ""
    tls: Tls | None = None

    @property
    def data_path(self) -> Path:
        return Path(self.data or f"/var/lib/safezone/{self.id}-station")


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the station keeps what is over: closed alarms, and faults that have ended, in days.

    Alarms name officers and may describe people: Thai law (PDPA) wants such data kept no longer than its purpose
    needs. A year covers complaints, inquiries and the yearly statistics. EN 50136 wants faults kept for two years,
    which with a leap day are 731 days.
    """

    alarms_days: int = 365
    faults_days: int = 731


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole site. ``keys`` names the key file, relative to the site file."""

    version: int
    id: str
    name: Name
    keys: str = "keys.toml"
    station: Station
    point: tuple[Point, ...]
    retention: Retention = Retention()

    def find_point(self, point_id: str) -> Point:
        """The point of that id; raises SiteError that names the nearest known one."""
        return _find({point.id: point for point in self.point}, point_id, "point")

    def find_pole(self, pole_id: str) -> tuple[Point, Line, Pole]:
        """Where a pole is; raises SiteError that names the nearest known one."""
        known = {pole.id: (point, line, pole) for point in self.point for line in point.line for pole in line.pole}
        return _find(known, pole_id, "pole")

    def pole_ids(self) -> list[str]:
        return [pole.id for point in self.point for pole in point.poles()]


def _find(known: dict[str, Found], name: str, what: str) -> Found:
    if name in known:
        return known[name]
    raise SiteError(f"unknown {what} '{name}'{nearest(name, known)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known are: {', '.join(names)}" if names else ""


_UNKNOWN_FIELD = re.compile(r"unknown field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_STRUCT_AT: dict[str, type[msgspec.Struct]] = {
    "": Site, "name": Name, "retention": Retention, "station": Station, "station.name": Name,
    "station.tls": Tls, "point": Point, "point.name": Name, "point.place": Place, "point.line": Line,
    "point.button": Button, "point.line.pole": Pole, "point.line.pole.name": Name, "point.line.pole.place": Place,
}  # fmt: skip


def _explain(path: Path, error: msgspec.ValidationError) -> SiteError:
    text = str(error)
    unknown = _UNKNOWN_FIELD.search(text)
    if unknown:
        where = re.sub(r"\[[^\]]*\]", "", unknown[2] or "")
        struct = _STRUCT_AT.get(where, Site)
        place = f"in [{where}]" if where else "at the top"
        return SiteError(f"{path}: unknown key '{unknown[1]}' {place}{nearest(unknown[1], struct.__struct_fields__)}")
    return SiteError(f"{path}: {text.replace('`$', '`').replace('`', chr(39))}; mend the site file")


def read_site(path: Path) -> Site:
    """Read and check a site file; raises SiteError, one line, for anything that cannot be right."""
    try:
        data = read_toml(path)
    except OSError as error:
        raise SiteError(f"{path}: cannot read the site file ({error.strerror}); name one with --site") from None
    except ValueError as error:
        raise SiteError(f"{path}: not a TOML file: {error}") from None
    try:
        site = msgspec.convert(data, Site)
    except msgspec.ValidationError as error:
        raise _explain(path, error) from None
    for complaint in complaints(site):
        raise SiteError(f"{path}: {complaint}")
    return site


_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")  # ids become MQTT topic levels, file names and labels


def complaints(site: Site) -> Iterator[str]:
    """What cannot be right in a site although every key is known, a sentence each."""
    if site.version != 1:
        yield f"version {site.version} of the site file is unknown here; this release reads version 1"
    if not site.point:
        yield "no [[point]]; a site has at least one reporting point"
    if len(site.point) > MAX_POINTS:
        yield f"{len(site.point)} points are more than {MAX_POINTS}"
    # A point's own button is a pole to the station, and names a file of its agent's.
    callers = [*site.pole_ids(), *(point.button.id for point in site.point if point.button)]
    names = [site.id, site.station.id, *(p.id for p in site.point), *callers]
    yield from (
        f"id '{name}' must be small letters, digits and '-', 40 at most" for name in names if not _ID.fullmatch(name)
    )
    yield from _twice("point", [point.id for point in site.point])
    yield from _twice("pole or button", callers)
    if not site.station.brokers:
        yield "station.brokers is empty; name at least one, such as 'mqtt://127.0.0.1:1883'"
    for broker in site.station.brokers:
        yield from _broker_complaints(broker)
        if broker.startswith("mqtts:") and site.station.tls is None:
            yield f"broker '{broker}' needs [station.tls] with 'ca'; add it, or write mqtt://"
    for name in ("alarms_days", "faults_days"):
        days = getattr(site.retention, name)
        if not MIN_DAYS <= days <= MAX_DAYS:
            yield f"retention.{name} is {days}; write {MIN_DAYS} to {MAX_DAYS} days"
    for point in site.point:
        # Each point is a machine: two may call their ports by the same name.
        yield from _twice(f"port of point '{point.id}'", [line.port for line in point.line])
        for line in point.line:
            yield from _line_complaints(point, line)


def _twice(what: str, values: list[str]) -> Iterator[str]:
    for value in sorted(value for value, count in Counter(values).items() if count > 1):
        yield f"{what} '{value}' stands there twice; each needs its own"


def _broker_complaints(broker: str) -> Iterator[str]:
    try:
        url = urlsplit(broker)
        good = url.scheme in ("mqtt", "mqtts") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        yield f"broker '{broker}' is no address; write mqtt://host:port or mqtts://host:port"


def _line_complaints(point: Point, line: Line) -> Iterator[str]:
    if not line.pole:
        yield f"line '{line.port}' of point '{point.id}' has no pole"
    if len(line.pole) > MAX_POLES_ON_A_LINE:
        yield f"line '{line.port}' has {len(line.pole)} poles; {MAX_POLES_ON_A_LINE} at most"
    if len(line.pole) > 1 and not line.shared:
        yield f"line '{line.port}' has {len(line.pole)} poles but is not shared; set shared = true"
    if not 9600 <= line.baud <= 1_000_000:
        yield f"baud {line.baud} of line '{line.port}' is outside 9600 to 1000000"
    yield from _twice(f"address on line '{line.port}'", [str(pole.address) for pole in line.pole])
    for pole in line.pole:
        if not 1 <= pole.address <= 65534:
            yield f"address {pole.address} of pole '{pole.id}' is outside 1 to 65534"


def find_site(name: str) -> Path:
    """Path of a site: a file as given, or the name of one that came with the package (``betong``)."""
    given = Path(name)
    try:
        if given.suffix == ".toml" or given.exists():
            return given
    except (OSError, ValueError):
        pass  # too long for a file's name, or with a zero in it
    bundled = {path.stem: path for path in data_dir("sites").glob("*.toml")}
    if name in bundled:
        return bundled[name]
    raise SiteError(f"no site file '{name}'{nearest(name, bundled)}")


class Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The key file: 32 bytes a pole, as hex."""

    poles: dict[str, str]


def read_key_file(path: Path) -> dict[str, str]:
    """Keys by pole, as hex, not yet looked at; raises SiteError for a missing or readable-by-others file."""
    try:
        data = read_toml(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        keys = msgspec.convert(data, Keys).poles
    except PermissionError:
        raise SiteError(
            f"{path}: this user may not read the pole keys; run: sudo chown <user of the agent> {path}"
        ) from None
    except OSError as error:
        why = f"{path}: cannot read the pole keys ({error.strerror})"
        raise SiteError(f"{why}; mend 'keys' in the site file, or make them: safezone site keys") from None
    except ValueError as error:
        raise SiteError(f"{path}: not a key file: {error}") from None
    if mode & 0o077:
        raise SiteError(f"{path}: others may read the pole keys (mode {mode:04o}); run: chmod 600 {path}")
    return keys


def read_keys(path: Path, wanted: list[str]) -> dict[str, bytes]:
    """Keys of the poles ``wanted``; raises SiteError for a missing, weak, doubled or readable-by-others file or key."""
    keys = read_key_file(path)
    holders: dict[str, str] = {}
    for pole, text in keys.items():
        other = holders.setdefault("".join(text.split()).lower(), pole)
        if other != pole:
            why = f"poles '{other}' and '{pole}' have the same key: whoever opens one speaks as both"
            raise SiteError(f"{path}: {why}; make another: safezone site keys revoke pole {pole}")
    return {pole: _key(path, pole, keys) for pole in wanted}


def _key(path: Path, pole: str, keys: dict[str, str]) -> bytes:
    if pole not in keys:
        hint = nearest(pole, keys) if keys else "; make it: safezone site keys"
        raise SiteError(f"{path}: no key for pole '{pole}'{hint}")
    another = f"; make another: safezone site keys revoke pole {pole}"
    try:
        key = bytes.fromhex(keys[pole])
    except ValueError:
        raise SiteError(f"{path}: key of pole '{pole}' is not hex{another}") from None
    if len(key) != KEY_BYTES or len(set(key)) < KEY_BYTES // 4:
        raise SiteError(f"{path}: key of pole '{pole}' must be {KEY_BYTES} random bytes as hex{another}")
    return key

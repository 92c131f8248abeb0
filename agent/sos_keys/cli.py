"""``safezone site keys`` and ``safezone site acl``: who may speak in a site, from its site file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sos_contract.errors import SafezoneError, UserError
from sos_contract.site import find_site, read_site
from sos_contract.who import RENEW_WEEKS, Who

if TYPE_CHECKING:
    from sos_keys.authority import Authority, Issued
    from sos_keys.bundles import Row

# Two rounds of a technician who comes by each year, and some weeks to spare.
CERTIFICATE_DAYS = 2 * 365 + 60
_TERMINAL = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")  # a level of a topic, as the ids of a site file

SiteOption = Annotated[
    str, typer.Option("--site", envvar="SAFEZONE_SITE", help="Site file, or the name of one that comes along.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of the authority, the keys and what is handed out.")]
DaysOption = Annotated[int, typer.Option("--days", min=1, max=3650, help="How long new certificates are good.")]
KindArgument = Annotated[str, typer.Argument(metavar="KIND", help="point, pole, terminal, station or broker.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Its id.")]
_OUT = Path("keys")


def register(site: typer.Typer) -> None:
    """Add ``keys`` and ``acl`` to ``safezone site``."""
    keys = typer.Typer(help="Certificates and pole keys of a site.", rich_markup_mode=None)
    keys.callback(invoke_without_command=True)(make)
    keys.command("rotate")(rotate)
    keys.command("revoke")(revoke)
    keys.command("replace")(replace)
    keys.command("status")(status)
    site.add_typer(keys, name="keys")
    site.command("acl")(acl)


def make(
    context: typer.Context,
    site: SiteOption = "betong",
    out: OutOption = _OUT,
    terminal: Annotated[
        list[str] | None, typer.Option("--terminal", help="An officer's terminal, once for each.", show_default=False)
    ] = None,
    days: DaysOption = CERTIFICATE_DAYS,
) -> None:
    """Make what is missing: the authority, a certificate for each broker, point and terminal and the station, and a
    key for each pole. What is there is kept."""
    if context.invoked_subcommand is not None:
        if any(str(context.get_parameter_source(name)).endswith("COMMANDLINE") for name in context.params):
            raise UserError(f"write the options after '{context.invoked_subcommand}'")
        return
    found = read_site(find_site(site))
    terminals = [_terminal(name) for name in terminal or []]
    now = _now()
    with _opened(out, found.id, now) as authority:
        from sos_keys import bundles, poles

        kept = 0
        for holder in bundles.wanted(found, terminals):
            if bundles.folder_of(out, holder).exists():
                kept += 1
                if _checked(out, authority, holder).revoked:
                    typer.echo(f"{holder.common_name} is revoked{_another(holder, out)}")
            else:
                bundles.make(out, authority, holder, now + timedelta(days=days))
                typer.echo(f"made {holder.common_name}: {bundles.folder_of(out, holder)}")
        fresh = poles.add_poles(out, found)
        poles.hand_out(out, found)
        bundles.refresh(out, authority)
    for pole in fresh:
        typer.echo(f"made the key of pole {pole}")
    kept += len(found.pole_ids()) - len(fresh)
    typer.echo(f"{out}: {kept} kept; keep {out / 'authority'} and {out / poles.FILE} where no network reaches them")


def rotate(kind: KindArgument, name: NameArgument, out: OutOption = _OUT, days: DaysOption = CERTIFICATE_DAYS) -> None:
    """Another key for one of them. An old certificate is good until ``revoke --old``; a pole's key ends at once."""
    if kind == "pole":
        _renew_pole(out, name)
        return
    now = _now()
    with _opened(out) as authority:
        from sos_keys import bundles

        holder = bundles.find(authority, kind, name)
        before = bundles.certificate(out, authority, holder)
        if before is None:
            raise UserError(f"{bundles.folder_of(out, holder)}: not whole; move it away and run 'safezone site keys'")
        bundles.renew(out, authority, holder, now + timedelta(days=days))
        folder = bundles.folder_of(out, holder)
    typer.echo(f"renewed {holder.common_name}: carry {folder} to its machine and start the program there anew")
    if not before.revoked:
        typer.echo(f"the certificate before is good until: safezone site keys revoke {kind} {name} --old --out {out}")


def replace(
    pole: Annotated[str, typer.Argument(metavar="POLE", help="Its id.")],
    officer: Annotated[str, typer.Option("--officer", envvar="SAFEZONE_OFFICER", help="Who asks.")] = "",
    site: SiteOption = "betong",
    broker: Annotated[
        list[str] | None, typer.Option("--broker", help="Broker to ask through, instead of the site's.")
    ] = None,
    out: OutOption = _OUT,
) -> None:
    """Another key for a pole in service, over the wire.

    Its agent tells when the pole was heard with it. Until then both ends keep both keys, and so does OUT. After a
    compromise use 'revoke pole' and the cable instead."""
    from sos_contract.payloads import DeskRequest
    from sos_edge.lock import FolderLock
    from sos_keys.folder import make_folder, one_line
    from sos_keys.replacing import NEW_FILE, Replacement
    from sos_station import orders
    from sos_station.cli import with_terminal

    point, _, _ = read_site(find_site(site)).find_pole(pole)
    who = orders.named(officer)
    with one_line(out):
        if not out.is_dir():
            raise UserError(f"{out}: no keys of a site; make them with 'safezone site keys', or name them with --out")
        lock = FolderLock(make_folder(out), what="safezone site keys")
        try:
            new = Replacement(out, pole)
            if new.resumed:
                typer.echo(f"{out / NEW_FILE}: going on with the key that was made before")
            request = DeskRequest(
                number="", officer=who, action="command", pole=pole, command="replace_key",
                wrapped=new.wrapped, check=new.check,
            )  # fmt: skip
            found = with_terminal(site, broker, lambda terminal: orders.order(terminal, request))
            orders.check(found)
            changed = new.done()
        finally:
            lock.close()
    typer.echo(f"{pole} runs on another key now; changed: {', '.join(map(str, changed))}")
    typer.echo(f"its agent keeps it; carry {out}/point.{point.id} there when you come by")


def revoke(
    kind: KindArgument,
    name: NameArgument,
    old: Annotated[bool, typer.Option("--old", help="All but the newest, after a rotation.")] = False,
    out: OutOption = _OUT,
) -> None:
    """Turn one of them away for good. Its certificates go on the list of the revoked; a pole gets another key."""
    if kind == "pole":
        if old:
            raise UserError("--old is for certificates: a pole has one key, and 'rotate' has ended the one before")
        _renew_pole(out, name)
        return
    now = _now()
    with _opened(out) as authority:
        from sos_keys import bundles

        holder = bundles.find(authority, kind, name)
        newest = bundles.current(out, authority, holder)
        if old and newest is None:
            raise UserError(f"{bundles.folder_of(out, holder)}: not whole, so nobody knows which one is the newest")
        keep = {newest.serial} if old and newest is not None else set[int]()
        gone = [one for one in authority.issued() if one.who == holder and not one.revoked and one.serial not in keep]
        authority.revoke([one.serial for one in gone], now)
        bundles.refresh(out, authority)
    typer.echo(f"revoked {len(gone)} of {holder.common_name}")
    typer.echo(f"now: safezone site acl, carry {out}/broker.* to the brokers, and restart mosquitto there")
    if kind == "broker":
        typer.echo("a revoked broker is known by the new ca.pem alone: carry it to every point, station and terminal")


def status(
    out: OutOption = _OUT,
    weeks: Annotated[int, typer.Option(min=0, help="Warn this long before the end.")] = RENEW_WEEKS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List every certificate with its end. Exit 1 if one ends within some weeks, has ended, or does not fit its key."""
    now = _now()
    with _opened(out) as authority:
        from sos_keys import bundles

        rows = list(bundles.rows(out, authority, now))
    bad = 0
    for row in rows:
        days = (row.until - now).days
        said = _condition(row, days, weeks)
        bad += said in ("soon", "expired", "broken")
        if as_json:
            end = row.until.isoformat()
            typer.echo(json.dumps({"name": row.who.common_name, "until": end, "days": days, "condition": said}))
        else:
            typer.echo(f"{row.who.common_name:<40}{row.until:%Y-%m-%d}{days:>7} days  {_WORDS[said]}")
    if bad:
        raise SafezoneError(f"{out}: {bad} of the above need 'safezone site keys rotate'")


_WORDS = {
    "good": "good",
    "soon": "ends soon: rotate it",
    "expired": "HAS ENDED: rotate it",
    "broken": "NOT WHOLE: certificate and key do not fit",
    "revoked": "revoked",
    "older": "replaced, but still good: revoke --old",
}


def _condition(row: Row, days: int, weeks: int) -> str:
    if row.condition != "good":
        return row.condition
    return "expired" if days < 0 else "soon" if days < 7 * weeks else "good"


def acl(
    site: SiteOption = "betong",
    out: OutOption = _OUT,
    etc: Annotated[Path, typer.Option(help="Where the files will lie on the broker's machine.")] = Path(
        "/etc/mosquitto/safezone"
    ),
    data: Annotated[Path, typer.Option(help="Where the broker keeps its store.")] = Path("/var/lib/mosquitto"),
) -> None:
    """Write mosquitto's configuration and access list. Into each broker's folder, beside its certificate."""
    from sos_keys.acl import access_list, configuration

    found = read_site(find_site(site))
    with _opened(out) as authority:
        from sos_keys import bundles
        from sos_keys.folder import replace

        welcome = bundles.welcome(authority)
        brokers = [holder for holder in bundles.wanted(found, []) if holder.kind == "broker"]
        made = {holder: configuration(found, holder.name, etc, data) for holder in brokers}
        bundles.refresh(out, authority)
        for holder, text in made.items():
            _checked(out, authority, holder)
            folder = bundles.folder_of(out, holder)
            replace(folder / "mosquitto.conf", text.encode())
            replace(folder / "acl", access_list(found, welcome).encode())
            typer.echo(f"{folder}: carry it to {etc} on {holder.name}, then restart mosquitto")
    for holder in bundles.wanted(found, []):
        if holder not in welcome:
            typer.echo(f"{holder.common_name} has no certificate that is good, and so no rights{_another(holder, out)}")


def _another(holder: Who, out: Path) -> str:
    return f"; give it another: safezone site keys rotate {holder.kind} {holder.name} --out {out}"


def _checked(out: Path, authority: Authority, holder: Who) -> Issued:
    from sos_keys import bundles

    found = bundles.current(out, authority, holder)
    if found is None:
        folder = bundles.folder_of(out, holder)
        why = "has no certificate of this authority with its key"
        raise UserError(f"{folder}: {why}; move it away and run 'safezone site keys'")
    return found


def _renew_pole(out: Path, pole: str) -> None:
    from sos_contract.site import nearest
    from sos_keys import poles
    from sos_keys.replacing import forget

    with _opened(out):
        known = poles.unchecked(out / poles.FILE)
        if pole not in known:
            raise UserError(f"no pole '{pole}' has a key{nearest(pole, known)}")
        # First: a key that was made for it before, and whose wrapping others may have heard, must never become its own.
        forget(out, pole)
        changed = poles.renew_pole(out, pole)
    typer.echo(f"renewed the key of pole {pole} in {', '.join(map(str, changed))}")
    typer.echo("its agent and the pole itself need it together: carry the file there, and provision the pole anew")


@contextmanager
def _opened(out: Path, town: str = "", now: datetime | None = None) -> Iterator[Authority]:
    """The authority in ``out``, for us alone; made if ``town`` is given and there is none."""
    if find_spec("cryptography") is None:
        raise UserError("certificates need the package 'cryptography'; run: pip install 'safezone[keys]'")
    from sos_edge.lock import FolderLock
    from sos_keys import bundles
    from sos_keys.authority import Authority
    from sos_keys.folder import make_folder, one_line

    folder = out / "authority"
    with one_line(out):
        if now is None and not folder.is_dir():
            raise UserError(f"{out}: no keys of a site; make them with 'safezone site keys', or name them with --out")
        lock = FolderLock(make_folder(out), what="safezone site keys")
        try:
            bundles.newest(out, folder)
            yield Authority.create(folder, town, now) if now and not folder.exists() else Authority(folder)
        finally:
            lock.close()


def _now() -> datetime:
    """The time by which certificates end; raises SafezoneError if this machine does not know it."""
    from sos_edge import clock

    if clock.quality() == "unset":
        raise SafezoneError("this machine's clock was never set, so no certificate would end in time; set it first")
    return datetime.fromtimestamp(clock.wall_ms() // 1000, UTC)


def _terminal(name: str) -> str:
    if not _TERMINAL.fullmatch(name):
        raise UserError(f"terminal '{name}' must be small letters, digits and '-', 40 at most")
    return name

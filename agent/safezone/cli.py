"""The command line: finds the part that a command belongs to, loads only that, and turns errors into one line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from sos_contract.errors import SafezoneError
from sos_contract.text import error_line

if TYPE_CHECKING:
    import typer

# command -> module whose `register(app)` adds it. Only the module of the command given is imported: the agent's
# memory and start-up must not pay for the simulator's screen.
_PARTS = {
    "agent": "sos_agent.cli",
    "station": "sos_station.cli",
    "alarms": "sos_station.cli",
    "sim": "sos_sim.cli",
    "soak": "sos_sim.soak_cli",
    "chaos": "sos_sim.chaos_cli",
    "bench": "sos_sim.bench.cli",
    "site": "safezone.site_cli",
    "ledger": "sos_ledger.cli",
}


def build(arguments: Sequence[str]) -> typer.Typer:
    """The app with the part that ``arguments`` ask for, or with all parts, for ``--help`` and mistyped words."""
    import typer

    app = typer.Typer(
        name="safezone",
        help="Street emergency poles, from the button to the officer.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    wanted = next((word for word in arguments if not word.startswith("-")), "")
    modules = [_PARTS[wanted]] if wanted in _PARTS else list(dict.fromkeys(_PARTS.values()))
    for module in modules:
        import_module(module).register(app)

    @app.callback()
    def root() -> None:
        pass  # keeps a lone command a sub-command

    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0, 1 for the world's faults, 2 for the user's."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with _ended_by_ctrl_c():
        import typer
        from typer.main import get_command

        command = get_command(build(words))
    _make_output_good()
    try:
        result = command(words, prog_name="safezone", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except SafezoneError as error:
        return _complain(str(error), error.exit_code)
    except typer.TyperException as error:
        # A mistake behind a command is explained by that command's help; what is no command, by ours.
        where = getattr(getattr(error, "ctx", None), "command_path", "safezone")
        return _complain(f"{error.format_message().rstrip('.')}; see '{where} --help'", 2)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nobody is left to tell.
        _let_go_of_output()
        return 1
    except OSError as error:
        _let_go_of_output()
        return _complain(f"{error.filename or 'what was to be told'}: {error.strerror or error}", 1)


def _make_output_good() -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us: nobody wants to hear
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until we end
    if isinstance(sys.stdout, TextIOWrapper):
        # A letter that the terminal lacks is spelt: an officer's list must not end at a name in Thai.
        sys.stdout.reconfigure(errors="backslashreplace")


def _let_go_of_output() -> None:
    """What cannot be written must not be tried again at the end, which would be a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """While modules load, Ctrl-C ends the process as the system does it. There is nothing to clear away yet, and an
    exception amid an import would be a traceback, or be swallowed by whatever Python clears away at that moment."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _complain(text: str, exit_code: int) -> int:
    sys.stderr.write(error_line(text))
    return exit_code

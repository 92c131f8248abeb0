"""What fuzzing has found, mended since: the target, the input, and what it did."""

from __future__ import annotations

FINDINGS: tuple[tuple[str, bytes, str], ...] = (
    (
        "pole_settings",
        b'{"pole": "p", "address": 1, "key": "00", "link": {"kind": "usb", "baud": 1e999}}',
        "A number beyond all numbers in settings.json ended the pole's start in OverflowError instead of in words.",
    ),
    (
        "file_site",
        b"a = " + b"[" * 1000,
        "A site file with a thousand brackets ended in a traceback: tomllib lets RecursionError through.",
    ),
    (
        "file_site",
        b"version = " + b"9" * 5000,
        "A number of thousands of digits in a site file: a traceback, since Python refuses it with a bare ValueError.",
    ),
    ("file_keys", b"a = " + b"{a=" * 1000, "The same brackets, in a key file."),
    ("file_scenario", b"a = " + b"9" * 5000, "The same number, in a scenario."),
    (
        "file_scenario",
        b'hours = 1.0\nsite = "a\\u0000.toml"',
        "A zero in the name of a scenario's site is no file name anywhere: ValueError, and a traceback.",
    ),
    (
        "file_scenario",
        b'hours = 1.0\nsite = "' + b"a" * 300 + b'"',
        "A name of a site that is too long for a file: the look whether there is one raised OSError.",
    ),
    (
        "file_record",
        b"safezone record 1 merlin\n0 port 0 0 x\n1 level 1 x\n" + b"9" * 400 + b" level 0 x\n",
        "A record whose time has 400 digits: OverflowError where the scenario's hours were worked out.",
    ),
    (
        "file_kept_keys",
        b'{"p1": {"given": "x", "key": "", "z": ' + b"[" * 2000,
        "A damaged file of replaced keys with a thousand brackets kept the agent from its start: RecursionError.",
    ),
)

"""Who a certificate names: ``<kind>.<id>`` as its common name, which is also the user of the broker's access list."""

from __future__ import annotations

from typing import NamedTuple

# Whoever may connect, and what it connects to. Ids hold no dot, so that no kind can pass for another.
KINDS = ("broker", "station", "point", "terminal")
# A certificate that ends within this long is a fault: a visit to every point of a town, and the money for it, are not
# found in a week.
RENEW_WEEKS = 8
# X.509 allows 64 characters in a common name.
MAX_COMMON_NAME = 64


class Who(NamedTuple):
    """One holder of a certificate; ``name`` is the id of the site file, a broker's host, or a terminal's own name."""

    kind: str
    name: str

    @property
    def common_name(self) -> str:
        return f"{self.kind}.{self.name}"


def who(common_name: str) -> Who | None:
    """The holder that a common name names; None if it is none of ours."""
    kind, dot, name = common_name.partition(".")
    return Who(kind, name) if dot and name and kind in KINDS else None

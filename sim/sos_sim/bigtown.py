"""Site files of towns that nobody has built yet: as many poles as wanted, in the form of any other site file."""

from __future__ import annotations

from sos_contract.errors import UserError
from sos_contract.site import MAX_POINTS, MAX_POLES_ON_A_LINE, Line, Name, Place, Point, Pole, Site, Station

POLES_MOST = 1000
# Of the town's places, which lie on a grid: some 100 m apart, north and east of Betong's clock tower.
_LAT, _LON, _STEP, _ACROSS = 5.7745, 101.0725, 0.0009, 40


def town(poles: int, on_a_line: int) -> Site:
    """``poles`` poles, ``on_a_line`` on each point's one line: a shared pair if several. Raises UserError."""
    if not 1 <= poles <= POLES_MOST:
        raise UserError(f"--poles {poles} is outside 1 to {POLES_MOST}")
    if not 1 <= on_a_line <= MAX_POLES_ON_A_LINE:
        raise UserError(f"--on-a-line {on_a_line} is outside 1 to {MAX_POLES_ON_A_LINE}")
    assert poles <= MAX_POINTS
    points = tuple(
        _point(number, range(first, min(first + on_a_line, poles)))
        for number, first in enumerate(range(0, poles, on_a_line), 1)
    )
    station = Station(id="bigtown", name=Name(th="สถานี", en="Station"), brokers=("mqtt://127.0.0.1:1883",))
    return Site(version=1, id="bigtown", name=Name(th="เมืองใหญ่", en="Big town"), station=station, point=points)


def _point(number: int, numbers: range) -> Point:
    line = Line(
        port=f"/dev/serial/by-id/usb-sos-{number}",
        shared=len(numbers) > 1,
        pole=tuple(Pole(id=f"pole-{one + 1}", address=one - numbers.start + 1) for one in numbers),
    )
    row, column = divmod(number - 1, _ACROSS)
    place = Place(lat=round(_LAT + row * _STEP, 4), lon=round(_LON + column * _STEP, 4), approximate=True)
    return Point(id=f"point-{number}", name=Name(th=f"จุด {number}", en=f"Point {number}"), place=place, line=(line,))

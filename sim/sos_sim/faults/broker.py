"""Faults of brokers, and of the network between them and the programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from sos_sim.faults.base import Fault, Knob, Turns
from sos_sim.world.broker import Broker


class _AtBroker(Fault):
    place = "broker"

    @property
    def broker(self) -> Broker:
        """The node."""
        return self.field.zone.brokers[self.where]


class _Stops(_AtBroker):
    lasts_s = (0.2, 40.0)

    def stop(self) -> Callable[[], object]:
        """How it is stopped."""
        raise NotImplementedError

    def begin(self) -> None:
        self.field.hold(f"broker:{self.where}", self, self.stop())

    def end(self) -> None:
        self.field.let(f"broker:{self.where}", self)


class BrokerRestarted(_Stops):
    """The broker is killed; it comes back with its store as last saved, and without sessions or what was under way."""

    name = "broker-restarted"
    often = 2.0

    def stop(self) -> Callable[[], object]:
        return self.broker.kill


class BrokerStopped(_Stops):
    """The broker ends in order: wills are said, the store is written."""

    name = "broker-stopped"
    often = 0.5

    def stop(self) -> Callable[[], object]:
        return self.broker.stop


class BrokerEmptied(_Stops):
    """The broker is killed and comes back without its store: nothing retained is left."""

    name = "broker-emptied"

    def stop(self) -> Callable[[], object]:
        return lambda: self.broker.kill(keep_store=False)


class BrokerPowerCut(_Stops):
    """The broker's machine is off: nobody is told, connections die by time-outs."""

    name = "broker-power-cut"

    def stop(self) -> Callable[[], object]:
        return self.broker.power_cut


class BrokerFrozen(_Stops):
    """The broker stands still: its kernel takes connections and bytes, and nobody answers."""

    name = "broker-frozen"

    def stop(self) -> Callable[[], object]:
        return self.broker.freeze


class BrokerLateWills(_AtBroker, Turns):
    """The broker says wills late, perhaps behind the next birth of the same program."""

    name = "broker-late-wills"
    attribute = "late_will_us"
    knobs: ClassVar[dict[str, Knob]] = {"most_ms": (100, 20_000)}
    lasts_s = (20.0, 120.0)

    def things(self) -> list[object]:
        return [self.broker]

    def value(self) -> object:
        return int(self.number("most_ms")) * 1000


class BrokerMute(_AtBroker, Turns):
    """The broker takes messages and passes them on, and acknowledges none."""

    name = "broker-mute"
    attribute = "acknowledges"
    lasts_s = (5.0, 60.0)
    often = 0.5

    def things(self) -> list[object]:
        return [self.broker]

    def value(self) -> object:
        return False


class BrokerSwallows(_AtBroker, Turns):
    """The broker acknowledges messages, and they go nowhere: only the station's own answers tell."""

    name = "broker-swallows"
    attribute = "routes"
    lasts_s = (5.0, 60.0)

    def things(self) -> list[object]:
        return [self.broker]

    def value(self) -> object:
        return False


class BrokerDropsSessions(_AtBroker):
    """The broker throws one client out after the other, again and again."""

    name = "broker-drops-sessions"
    knobs: ClassVar[dict[str, Knob]] = {"per_s": (0.05, 1.0)}
    lasts_s = (10.0, 60.0)

    def begin(self) -> None:
        self._on = True
        self._later()

    def _later(self) -> None:
        self.field.loop.after(int(self.rng.expovariate(self.number("per_s")) * 1e6), self._drop)

    def _drop(self) -> None:
        if not self._on:
            return
        paths = [path for path in self.broker.paths if path.connections]
        if paths and self.broker.running:
            self.rng.choice(paths).drop_connection()
        self._later()

    def end(self) -> None:
        self._on = False


class _OnThePath(Turns):
    place = "path"

    def things(self) -> list[object]:
        return [self.field.path(self.where)]


class NetworkCut(_OnThePath):
    """Every packet between one program and one broker vanishes: a partition that only time-outs notice."""

    name = "network-cut"
    attribute = "cut"
    lasts_s = (0.5, 90.0)
    often = 2.0

    def value(self) -> object:
        return True

    def begin(self) -> None:
        for name in ("cut_up", "cut_down"):
            self.field.turn(self.things()[0], name, True, self)

    def end(self) -> None:
        for name in ("cut_up", "cut_down"):
            self.field.back(self.things()[0], name, self)


class NetworkHalfCut(_OnThePath):
    """Packets vanish in one direction between a program and a broker."""

    name = "network-half-cut"
    knobs: ClassVar[dict[str, Knob]] = {"direction": ("cut_up", "cut_down")}
    lasts_s = (0.5, 60.0)

    def begin(self) -> None:
        self.attribute = self.word("direction")  # type: ignore[misc]
        super().begin()


class NetworkSlow(_OnThePath):
    """The path carries so many bytes a second and no more: a mobile network at its end."""

    name = "network-slow"
    attribute = "slow_bytes_per_s"
    knobs: ClassVar[dict[str, Knob]] = {"bytes_per_s": (400, 20_000)}
    lasts_s = (10.0, 90.0)

    def value(self) -> object:
        return int(self.number("bytes_per_s"))


class NetworkLate(_OnThePath):
    """Each packet takes longer, by a satellite hop or a radio that retries."""

    name = "network-late"
    attribute = "latency_us"
    knobs: ClassVar[dict[str, Knob]] = {"by_ms": (20, 2_000)}
    lasts_s = (10.0, 90.0)

    def value(self) -> object:
        return int(self.number("by_ms")) * 1000


class NetworkDuplicates(_OnThePath):
    """Messages are delivered a second time, up to 2 s later: QoS 1 allows it."""

    name = "network-duplicates"
    attribute = "duplicate"
    knobs: ClassVar[dict[str, Knob]] = {"probability": (0.05, 0.5)}
    lasts_s = (10.0, 120.0)

    def value(self) -> object:
        return self.number("probability")


class NetworkRefuses(_OnThePath):
    """New connections are refused, standing ones are dropped once: a firewall that was changed."""

    name = "network-refuses"
    attribute = "refuse"
    lasts_s = (2.0, 60.0)

    def begin(self) -> None:
        super().begin()
        self.field.path(self.where).drop_connection()


class NetworkHangs(_OnThePath):
    """Attempts to connect hang, as with a resolver that does not answer; standing connections are dropped once."""

    name = "network-hangs"
    attribute = "hang"
    lasts_s = (2.0, 60.0)

    def begin(self) -> None:
        super().begin()
        self.field.path(self.where).drop_connection()


BROKER: tuple[type[Fault], ...] = (
    BrokerRestarted, BrokerStopped, BrokerEmptied, BrokerPowerCut, BrokerFrozen, BrokerLateWills, BrokerMute,
    BrokerSwallows, BrokerDropsSessions, NetworkCut, NetworkHalfCut, NetworkSlow, NetworkLate, NetworkDuplicates,
    NetworkRefuses, NetworkHangs,
)  # fmt: skip

"""Step 1, board: samples the buttons every 2 ms, lets the pole take its steps, carries out what they say.

Every hardware call of this file and ``ports.py``, for whoever builds a stand-in (MicroPython >= 1.24):
    machine.Pin(n, Pin.IN, Pin.PULL_UP | None) .value()      machine.Pin(n, Pin.OUT, value=0) .value(v)
    machine.ADC(Pin(n) | ADC.CORE_TEMP) .read_u16()          .atten(ADC.ATTN_11DB) on an esp32
    machine.PWM(Pin(n)) .freq(hz) .duty_u16(0..65535)
    machine.UART(id, baudrate=, tx=Pin, rx=Pin, rxbuf=, txbuf=) .any() .read(n) .write(bytes) .flush() (shared only)
    machine.Timer(-1; 0 on an esp32) .init(mode=Timer.PERIODIC, period=2, callback=f), a soft interrupt
    machine.WDT(timeout=8000) .feed()   machine.reset() .reset_cause() .idle() and the constants *_RESET
    rp2.Flash(start=, len=), or esp32.Partition.find(Partition.TYPE_DATA, label=)[0]: .ioctl(4, 0) (5, 0) (6, block)
        .readblocks(block, buffer, offset) .writeblocks(block, page of 256 bytes, offset): programs, does not erase
    time.ticks_ms()   os.urandom(n)   os.statvfs("/") where there is one
    link over USB: micropython.kbd_intr(-1), select.poll() on sys.stdin and on sys.stdout, sys.stdin.buffer.read(1),
        sys.stdout.buffer.write(bytes)
``main.build`` makes the pole; nothing touches hardware before. The watchdog starts with the first turn.
"""

import time

from sos_pole.lamp import TABLE
from sos_pole.pole import Outputs, Pole
from sos_pole.ports import Analog, BoardFlash, Heat, Lamp, Relay, Sounder, Switch, Uart, Usb, current_of, overlaid
from sos_pole.runs import PRESSED, SAMPLE_MS, Runs, Sampler, classify
from sos_pole.senses import Senses
from sos_pole.settings import Settings, SettingsError
from sos_wire.ticks import ticks_diff

WATCHDOG_MS = 8000  # an RP2040 can do 8,388
LOOK_MS = 250  # at the slow inputs
_LOW_MV, _GOOD_MV = 11400, 12200  # a 12 V lead battery: nearly empty; charging again
_CAUSES = {
    "PWRON_RESET": "power_on",
    "WDT_RESET": "watchdog",
    "SOFT_RESET": "soft",
    "HARD_RESET": "power_on",
    "BROWNOUT_RESET": "brown_out",
}


class Board:
    """The hardware of one pole, taken hold of when this is made; the lamp is dark, the beacon off."""

    def __init__(self, settings: Settings) -> None:
        import machine

        self.settings = settings
        self.repl = False  # the REPL has the board, the pole does not run
        chip = settings.chip
        pins = settings.board
        self._machine = machine
        self._levels = settings.levels
        self._adcs = [Analog(pins["button"]["adc"], chip).read_u16]
        if settings.silent_button:
            self._adcs.append(Analog(pins["silent"]["adc"], chip).read_u16)
        self._samplers = [Sampler() for _ in self._adcs]
        self._runs = [Runs() for _ in self._adcs]
        self._lamp = Lamp(pins["lamp"])
        self._sounder = Sounder(pins["sounder"]["pin"]) if "sounder" in pins else None
        self._beacon = Relay(pins["beacon"]["pin"]) if "beacon" in pins else None
        self._tamper = Switch(pins["tamper"]) if "tamper" in pins else None
        self._mains = Switch(pins["mains"]) if "mains" in pins else None
        self._heat = Heat() if pins.get("temperature") else None
        supply = pins.get("supply", {})
        self._supply = Analog(supply["adc"], chip) if supply else None
        self._full_mv: int = supply["full_mv"] if supply else 0
        self._senses = Senses(supply.get("low_mv", _LOW_MV), supply.get("good_mv", _GOOD_MV))
        self._flows = (current_of(pins.get("lamp_sense", {}), chip), current_of(pins.get("sounder_sense", {}), chip))
        self._cable: "Uart | Usb | None" = None
        self._watchdog: "machine.WDT | None" = None
        self._colour: "tuple[int, int, int]" = (0, 0, 0)
        self._hertz = 0
        self._beacon_on = False
        self._wake_ms = 0
        self._stepped_at = 0
        self._looked_at = 0
        self._news = True

    def flash(self) -> BoardFlash:
        """The journal's flash; raises SettingsError where the file system lies over it."""
        where = self.settings.board["journal"]
        if overlaid(where):
            raise SettingsError("the file system covers the journal; see firmware/README.md")
        return BoardFlash(where, self.settings.chip)

    def reset_cause(self) -> str:
        """One of sos_wire.messages.RESET_CAUSES."""
        cause = self._machine.reset_cause()
        for constant in _CAUSES:
            if getattr(self._machine, constant, None) == cause:
                return _CAUSES[constant]
        return "unknown"

    def asks_for_repl(self) -> bool:
        """Whether the enclosure is open and the button is held, now, at the start."""
        return self._tamper is not None and self._tamper.on() and classify(self._adcs[0](), self._levels) == PRESSED

    def give_to_repl(self) -> None:
        """The pole will not run: the lamp says so, and the REPL has the cable."""
        self.repl = True
        self._lamp.put(TABLE["out_of_service"][0][0][1])

    def run(self, pole: Pole) -> None:
        """The pole's life; returns when the REPL has the board."""
        while self.turn(pole):
            pass

    def turn(self, pole: Pole) -> bool:
        """One turn: a step if anything happened or is due, else sleep until the next interrupt. False: to the REPL."""
        if self.repl:
            return False
        if self._watchdog is None:
            self._start()
        assert self._cable is not None and self._watchdog is not None
        now = time.ticks_ms()
        received = self._cable.read()
        if ticks_diff(now, self._looked_at) >= LOOK_MS:
            self._look(now)
        for output in range(2):
            flows = self._flows[output]
            if callable(flows) and self._senses.due(output, now):
                self._news = self._senses.look_at(output, flows()) or self._news
        due = self._news or received or self.due_ms(now) <= 0
        for sampler in self._samplers:
            due = due or sampler.changed
        if not due:
            self._machine.idle()
            return True
        self._news = False
        self._stepped_at = now
        self._take_runs()
        out = pole.step(now, self._runs, received, self._senses.readings)
        self._apply(out, now)
        self._watchdog.feed()
        if out.open_repl:
            self._machine.reset()
        return True

    def due_ms(self, now: int) -> int:
        """Milliseconds from ``now`` until the pole wants its next step, if nothing happens before; 0 or less: now."""
        return self._wake_ms - ticks_diff(now, self._stepped_at)

    def _start(self) -> None:
        """From here on the buttons are sampled and the watchdog waits for progress."""
        machine = self._machine
        settings = self.settings
        if settings.link == "usb":
            self._cable = Usb()
        else:
            self._cable = Uart(settings.board["uart"], settings.baud, settings.link == "rs485")
        self._stepped_at = self._looked_at = time.ticks_ms()
        self._watchdog = machine.WDT(timeout=WATCHDOG_MS)
        self._timer = machine.Timer(0 if settings.chip == "esp32" else -1)  # an ESP32 has no timers in software
        self._timer.init(mode=machine.Timer.PERIODIC, period=SAMPLE_MS, callback=self._sample)

    def _sample(self, _timer: object) -> None:
        now = time.ticks_ms()
        for index in range(len(self._adcs)):
            self._samplers[index].sample(classify(self._adcs[index](), self._levels), now)

    def _take_runs(self) -> None:
        blind_ms = 0
        for index in range(len(self._samplers)):
            self._runs[index] = self._samplers[index].take()
            blind_ms = max(blind_ms, self._samplers[index].blind_ms)
        self._senses.readings.blind_ms = blind_ms

    def _apply(self, out: Outputs, now: int) -> None:
        self._wake_ms = out.wake_ms
        if out.lamp is not self._colour:
            self._colour = out.lamp
            self._senses.put(0, any(out.lamp), now)
            self._lamp.put(out.lamp)
        if out.hertz != self._hertz:
            self._hertz = out.hertz
            self._senses.put(1, out.hertz, now)
            if self._sounder is not None:
                self._sounder.put(out.hertz)
        if out.beacon != self._beacon_on:
            self._beacon_on = out.beacon
            if self._beacon is not None:
                self._beacon.put(1 if out.beacon else 0)
        if out.send:
            assert self._cable is not None
            self._cable.write(out.send)

    def _look(self, now: int) -> None:
        """At the slow inputs."""
        self._looked_at = now
        mv = (self._supply.read_u16() >> 4) * (self._full_mv >> 2) >> 10 if self._supply else 0
        changed = self._senses.look(
            self._tamper is not None and self._tamper.on(),
            self._mains is not None and not self._mains.on(),
            mv,
            self._heat.tenths() if self._heat else 0,
        )
        self._news = self._news or changed

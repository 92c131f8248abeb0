"""The parts of a board, each touching its hardware when it is made: analogue and digital inputs, lamp, cable, flash."""

from sos_pole.journal import Flash

PAGE = 256
_ONES = b"\xff" * PAGE


class Analog:
    """An ADC pin; ``read_u16`` is the driver's own method, for the sampling timer has no time for a second call."""

    def __init__(self, pin: int, chip: str) -> None:
        import machine

        adc = machine.ADC(machine.Pin(pin))
        if chip == "esp32":
            adc.atten(adc.ATTN_11DB)
        self.read_u16 = adc.read_u16


class Switch:
    """A digital input, by default with a pull-up. Its map tells the level that means yes (``active``)."""

    def __init__(self, where: "dict[str, int]") -> None:
        import machine

        pull = machine.Pin.PULL_UP if where.get("pull_up", 1) else None  # which the stub does not know
        self._pin = machine.Pin(where["pin"], machine.Pin.IN, pull)  # type: ignore[arg-type]
        self._active = where.get("active", 1)

    def on(self) -> bool:
        """Whether it says yes, now."""
        return self._pin.value() == self._active


def current_of(where: "dict[str, int]", chip: str) -> object:
    """What to ask whether an output draws current now: a comparator on a pin, or an ADC that then reads ``least`` or
    more; None: nothing tells."""
    if "pin" in where:
        return Switch(where).on
    if "adc" in where:
        read, least = Analog(where["adc"], chip).read_u16, where["least"]
        return lambda: read() >= least
    return None


class Lamp:
    """Three PWM channels: red, green, white."""

    def __init__(self, where: "dict[str, int]") -> None:
        import machine

        self._channels = []
        for name in ("red", "green", "white"):
            channel = machine.PWM(machine.Pin(where[name]))
            channel.freq(where.get("hz", 1000))
            channel.duty_u16(0)
            self._channels.append(channel)

    def put(self, colour: "tuple[int, int, int]") -> None:
        """Light it, in percent a channel."""
        for index in range(3):
            self._channels[index].duty_u16(colour[index] * 65535 // 100)


class Sounder:
    """A piezo on a PWM pin."""

    def __init__(self, pin: int) -> None:
        import machine

        self._pwm = machine.PWM(machine.Pin(pin))
        self._pwm.freq(1000)
        self._pwm.duty_u16(0)

    def put(self, hertz: int) -> None:
        """Sound that; 0 is silence."""
        if hertz:
            self._pwm.freq(hertz)
        self._pwm.duty_u16(32768 if hertz else 0)


class Relay:
    """An output, off until told."""

    def __init__(self, pin: int) -> None:
        import machine

        self.put = machine.Pin(pin, machine.Pin.OUT, value=0).value


class Heat:
    """The RP2's own temperature."""

    def __init__(self) -> None:
        import machine

        self._adc = machine.ADC(machine.ADC.CORE_TEMP)

    def tenths(self) -> int:
        """Tenths of a degree Celsius. RP2040 datasheet: 0.706 V at 27 degrees, 1.721 mV a degree."""
        tenths_mv = (self._adc.read_u16() >> 2) * 33000 >> 14  # small integers only
        return 270 - (tenths_mv - 7060) * 100 // 172


class Uart:
    """A serial port of its own, with a driver-enable pin where the line is shared."""

    def __init__(self, where: "dict[str, int]", baud: int, shared: bool) -> None:
        import machine

        self._uart = machine.UART(
            where["id"],
            baudrate=baud,
            tx=machine.Pin(where["tx"]),
            rx=machine.Pin(where["rx"]),
            rxbuf=1024,
            txbuf=1024,
        )
        self._de = machine.Pin(where["de"], machine.Pin.OUT, value=0) if shared else None

    def read(self) -> bytes:
        """What has come."""
        waiting = self._uart.any()
        return self._uart.read(waiting) or b"" if waiting else b""

    def write(self, data: bytes) -> None:
        """Send; on a shared line until the last bit is out, so that the next one may speak."""
        if self._de is None:
            self._uart.write(data)
            return
        self._de.value(1)
        self._uart.write(data)
        self._uart.flush()
        self._de.value(0)


class Usb:
    """The USB port that is the REPL's otherwise: while it is the link, 0x03 is a byte like any other."""

    def __init__(self) -> None:
        import select
        import sys

        import micropython

        micropython.kbd_intr(-1)
        self._in = sys.stdin.buffer
        self._out = sys.stdout.buffer
        poll = select.poll()
        poll.register(sys.stdin, select.POLLIN)
        self._poll = poll.poll
        room = select.poll()
        room.register(sys.stdout, select.POLLOUT)
        self._room = room.poll

    def read(self) -> bytes:
        """What has come."""
        if not self._poll(0):
            return b""
        data = bytearray()
        while len(data) < 256 and self._poll(0):
            data += self._in.read(1)
        return bytes(data)

    def write(self, data: bytes) -> None:
        """Send; with nobody at the other end the bytes are lost, as on any cable, rather than waited for."""
        if self._room(0):
            self._out.write(data)


class BoardFlash(Flash):
    """The journal's part of the flash. Pages are programmed whole: ones leave the rest of a page as it is."""

    def __init__(self, where: "dict[str, int]", chip: str) -> None:
        if chip == "esp32":
            import esp32

            self._device = esp32.Partition.find(esp32.Partition.TYPE_DATA, label=where["label"])[0]
        else:
            import rp2

            self._device = rp2.Flash(start=where["start"], len=where["len"])
        self.size = self._device.ioctl(4, 0) * self._device.ioctl(5, 0)

    def read(self, address: int, count: int) -> bytes:
        """See Flash."""
        data = bytearray(count)
        self._device.readblocks(address // 4096, data, address % 4096)
        return bytes(data)

    def program(self, address: int, data: bytes) -> None:
        """See Flash."""
        page = bytearray(_ONES)
        at = address % PAGE
        page[at : at + len(data)] = data
        address -= at
        self._device.writeblocks(address // 4096, page, address % 4096)

    def erase(self, address: int) -> None:
        """See Flash."""
        self._device.ioctl(6, address // 4096)


def overlaid(where: "dict[str, int]") -> bool:
    """Whether the mounted file system reaches into the journal's part of an RP2's flash."""
    import os

    if "start" not in where or not hasattr(os, "statvfs"):
        return False
    held = os.statvfs("/")
    size: int = held[1] * held[2]
    return size > where["start"]

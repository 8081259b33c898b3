"""Places on the globe as numbers, and which numbers lie near a place.

A place's geohash has 26 bits of its latitude and 26 of its longitude, each counting cells
from the south or the west, interleaved: latitude in the even bits, longitude in the odd
ones.  Cut to ``2 * step`` bits it names a box, ``2**step`` boxes around the globe each way,
and the geohashes in that box are one range of numbers.  So whatever is within some
distance lies in nine such ranges, if boxes are about as large as the distance: the box of
the centre and its eight neighbours (``boxes_near``).

Latitudes end at 85.05112878 degrees, where the map of the Mercator projection is as high as
wide; the globe is a sphere of ``_EARTH_RADIUS_M``.  Distances are haversine distances, in
metres.  All arithmetic is done in stock's order, so that the last bits are the same.

It must not know: sorted sets, commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, cos, isinf, nan, pi, sin, sqrt

MIN_LONGITUDE, MAX_LONGITUDE = -180.0, 180.0
MIN_LATITUDE, MAX_LATITUDE = -85.05112878, 85.05112878
_STEPS = 26
_BITS = 2 * _STEPS
_DEGREE = pi / 180.0
_EARTH_RADIUS_M = 6372797.560856
_MERCATOR_MAX_M = 20037726.37
_MASK_32 = (1 << 32) - 1
_MASK_64 = (1 << 64) - 1
_ALPHABET = b"0123456789bcdefghjkmnpqrstuvwxyz"
_CHARS = 11

Place = tuple[float, float]
"""Longitude and latitude in degrees."""

# ---- numbers ---------------------------------------------------------------------------------


def _spread(n: int) -> int:
    """The 32 bits of a number at the even places of 64."""
    n = (n | n << 16) & 0x0000FFFF0000FFFF
    n = (n | n << 8) & 0x00FF00FF00FF00FF
    n = (n | n << 4) & 0x0F0F0F0F0F0F0F0F
    n = (n | n << 2) & 0x3333333333333333
    return (n | n << 1) & 0x5555555555555555


def _gather(n: int) -> int:
    """The bits at the even places of 64."""
    n &= 0x5555555555555555
    n = (n | n >> 1) & 0x3333333333333333
    n = (n | n >> 2) & 0x0F0F0F0F0F0F0F0F
    n = (n | n >> 4) & 0x00FF00FF00FF00FF
    n = (n | n >> 8) & 0x0000FFFF0000FFFF
    return (n | n >> 16) & 0x00000000FFFFFFFF


def _cells(place: Place, step: int, lowest: float, highest: float) -> tuple[int, int]:
    """Which cell a place is in, counted from the west and from the south; latitudes lie between the two given."""
    longitude, latitude = place
    cells = 1 << step
    x = (longitude - MIN_LONGITUDE) / (MAX_LONGITUDE - MIN_LONGITUDE) * cells
    y = (latitude - lowest) / (highest - lowest) * cells
    return int(x), int(y)


def encode(place: Place) -> int:
    """The geohash of a place that ``is_on_map``."""
    x, y = _cells(place, _STEPS, MIN_LATITUDE, MAX_LATITUDE)
    return _spread(y) | _spread(x) << 1


def is_on_map(place: Place) -> bool:
    """Can a place have a geohash?"""
    return MIN_LONGITUDE <= place[0] <= MAX_LONGITUDE and MIN_LATITUDE <= place[1] <= MAX_LATITUDE


def _as_bits(score: float) -> int:
    """A score as C's cast to 64 bits gives it on x86-64; any score can be asked for its place."""
    if isinf(score):
        return 0 if score > 0 else 1 << 63
    n = int(score)
    if n < 0:
        return n & _MASK_64 if n >= -(1 << 63) else 1 << 63
    return n if n <= _MASK_64 else 0


def _side(cell: int, cells: int, lowest: float, width: float) -> tuple[float, float]:
    """Where a cell begins and ends."""
    return lowest + (cell / cells) * width, lowest + (((cell + 1) & _MASK_32) / cells) * width


def decode(score: float) -> Place:
    """The middle of a geohash's cell."""
    bits = _as_bits(score)
    cells = 1 << _STEPS
    south, north = _side(_gather(bits), cells, MIN_LATITUDE, MAX_LATITUDE - MIN_LATITUDE)
    west, east = _side(_gather(bits >> 1), cells, MIN_LONGITUDE, MAX_LONGITUDE - MIN_LONGITUDE)
    longitude = min(max((west + east) / 2, MIN_LONGITUDE), MAX_LONGITUDE)
    return longitude, min(max((south + north) / 2, MIN_LATITUDE), MAX_LATITUDE)


def text_of(score: float) -> bytes:
    """The geohash as people write it, 11 characters; that one covers the poles, so it is another number."""
    x, y = _cells(decode(score), _STEPS, -90.0, 90.0)
    bits = _spread(y) | _spread(x) << 1
    shown = [_ALPHABET[(bits >> (_BITS - 5 * i)) & 31] for i in range(1, _CHARS)]
    return bytes([*shown, _ALPHABET[0]])  # of the last character there are but two bits: stock shows none


# ---- distances ---------------------------------------------------------------------------------


def distance_m(a: Place, b: Place) -> float:
    """How far it is from place to place."""
    latitude_a, latitude_b = a[1] * _DEGREE, b[1] * _DEGREE
    u = sin((latitude_b - latitude_a) / 2)
    v = sin((b[0] * _DEGREE - a[0] * _DEGREE) / 2)
    root = sqrt(u * u + cos(latitude_a) * cos(latitude_b) * v * v)
    return 2.0 * _EARTH_RADIUS_M * asin(root) if root <= 1 else nan


@dataclass(slots=True)
class Shape:
    """What is searched, around a centre: a circle of ``radius``, or a box of ``width`` and ``height`` (radius < 0).

    Lengths are in units of ``unit_m`` metres.
    """

    centre: Place = (0.0, 0.0)
    radius: float = -1.0
    width: float = 0.0
    height: float = 0.0
    unit_m: float = 1.0

    def distance_within_m(self, place: Place) -> float:
        """How far a place is from the centre, or -1 if it is outside."""
        if self.radius >= 0:
            distance = distance_m(self.centre, place)
            return -1.0 if distance > self.radius * self.unit_m else distance
        east_west = distance_m(place, (self.centre[0], place[1]))
        north_south = distance_m(place, (place[0], self.centre[1]))
        if east_west > self.width * self.unit_m / 2 or north_south > self.height * self.unit_m / 2:
            return -1.0
        return distance_m(self.centre, place)

    def _bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north end, in degrees; meridians converge, so the wider end counts as stock sees it."""
        half_width = self.unit_m * (self.radius if self.radius >= 0 else self.width / 2)
        half_height = self.unit_m * (self.radius if self.radius >= 0 else self.height / 2)
        longitude, latitude = self.centre
        up = half_height / _EARTH_RADIUS_M / _DEGREE
        at = latitude - up if latitude < 0 else latitude + up
        aside = half_width / _EARTH_RADIUS_M / _cosine(at * _DEGREE) / _DEGREE
        return longitude - aside, latitude - up, longitude + aside, latitude + up

    def _reach_m(self) -> float:
        """How far the shape reaches from its centre."""
        if self.radius >= 0:
            return self.radius * self.unit_m
        half_width, half_height = self.width / 2, self.height / 2
        return sqrt(half_width * half_width + half_height * half_height) * self.unit_m


def _cosine(angle: float) -> float:
    return nan if isinf(angle) else cos(angle)


# ---- boxes -------------------------------------------------------------------------------------


def _step_for(reach_m: float, latitude: float) -> int:
    """How many times to halve the globe so that nine boxes mostly cover so much."""
    if reach_m == 0:
        return _STEPS
    step = 1
    while reach_m < _MERCATOR_MAX_M:
        reach_m *= 2
        step += 1
    step -= 2
    if abs(latitude) > 66:
        step -= 1
        if abs(latitude) > 80:
            step -= 1
    return min(max(step, 1), _STEPS)


def _neighbour(x: int, y: int, east: int, north: int, step: int) -> tuple[int, int]:
    """The cell beside one, around the globe; what a place at the very edge has too much only goes where it moves."""
    mask = (1 << step) - 1
    return (x + east) & mask if east else x, (y + north) & mask if north else y


_AROUND = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""The box itself and its neighbours, steps to east and north, in the order in which they are searched."""


def boxes_near(shape: Shape) -> list[tuple[int, int]]:
    """The ranges of geohashes, up to nine, that cover a shape: the first, and that behind the last."""
    west, south, east, north = shape._bounds()
    step = _step_for(shape._reach_m(), shape.centre[1])
    x, y = _cells(shape.centre, step, MIN_LATITUDE, MAX_LATITUDE)
    if step > 1 and not _covers(x, y, step, (west, south, east, north)):
        step -= 1
        x, y = _cells(shape.centre, step, MIN_LATITUDE, MAX_LATITUDE)
    box_west, box_east = _side(x, 1 << step, MIN_LONGITUDE, MAX_LONGITUDE - MIN_LONGITUDE)
    box_south, box_north = _side(y, 1 << step, MIN_LATITUDE, MAX_LATITUDE - MIN_LATITUDE)
    unneeded: set[tuple[int, int]] = set()
    if step >= 2:
        for ends_inside, side in (
            (box_south < south, lambda to: to[1] < 0),
            (box_north > north, lambda to: to[1] > 0),
            (box_west < west, lambda to: to[0] < 0),
            (box_east > east, lambda to: to[0] > 0),
        ):
            if ends_inside:
                unneeded.update(filter(side, _AROUND))
    ranges: list[tuple[int, int]] = []
    shift = _BITS - 2 * step
    for to in _AROUND:
        if to in unneeded:
            continue
        at_x, at_y = _neighbour(x, y, *to, step)
        bits = _spread(at_y) | _spread(at_x) << 1
        box = bits << shift, (bits + 1) << shift
        # Around the whole globe a neighbour may be the box just searched; stock sees that much and no more.
        if not ranges or ranges[-1] != box:
            ranges.append(box)
    return ranges


def _covers(x: int, y: int, step: int, bounds: tuple[float, float, float, float]) -> bool:
    """Do a box and its neighbours cover these bounds?"""
    west, south, east, north = bounds
    cells = 1 << step
    width, height = MAX_LONGITUDE - MIN_LONGITUDE, MAX_LATITUDE - MIN_LATITUDE
    _, above = _neighbour(x, y, 0, 1, step)
    _, below = _neighbour(x, y, 0, -1, step)
    right, _ = _neighbour(x, y, 1, 0, step)
    left, _ = _neighbour(x, y, -1, 0, step)
    return not (
        _side(above, cells, MIN_LATITUDE, height)[1] < north
        or _side(below, cells, MIN_LATITUDE, height)[0] > south
        or _side(right, cells, MIN_LONGITUDE, width)[1] < east
        or _side(left, cells, MIN_LONGITUDE, width)[0] > west
    )

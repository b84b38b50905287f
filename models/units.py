"""Integer arithmetic with units: what every other module counts in.

Bytes, FLOP, tokens and nanoseconds are plain integers; rates are per second; fractions are parts
per million; money is micro-dollars; probabilities are 2**-32 fixed point, expected numbers of
experts or copies 2**-20. Demand rounds up and supply rounds down, once per term.
"""

import re
from fractions import Fraction
from math import isqrt
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

PPM = 1_000_000
NS_PER_S = 1_000_000_000
CERTAIN = 1 << 32  # probability 1 in 2**-32 fixed point
WHOLE = 1 << 20  # one expert, or one copy of a token, in expected numbers of them: 2**-20 fixed point
MAX_INT = 10**18  # largest value any field may hold: 1 EB, 1 EFLOP/s, 30 years in ns

_SI = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

_BYTES = {f"{p}B": Fraction(f) for p, f in (_SI | _BINARY).items()}
_BITS = {f"{p}bit": Fraction(f) / 8 for p, f in _SI.items()}
_UNITS: dict[str, dict[str, Fraction]] = {
    "bytes": _BYTES,
    "bytes/s": {f"{u}/s": f for u, f in (_BYTES | _BITS).items()},
    "FLOP/s": {f"{p}FLOP/s": Fraction(f) for p, f in _SI.items()},
    "ns": {
        "ns": Fraction(1),
        "us": Fraction(10**3),
        "µs": Fraction(10**3),
        "ms": Fraction(10**6),
        "s": Fraction(10**9),
    },
    "ppm": {"ppm": Fraction(1), "%": Fraction(10**4)},
    "micro-USD/h": {"USD/h": Fraction(10**6), "$/h": Fraction(10**6)},
    "tokens/s": {"tokens/s": Fraction(1)},
}
_QUANTITY = re.compile(r"\s*([0-9]{1,30}(?:_[0-9]{1,10})*(?:\.[0-9]{1,30})?)\s*([^\s0-9]\S{0,11})\s*")


def ceil_div(a: int, b: int) -> int:
    """ceil(a / b) for integers, b > 0."""
    return -(-a // b)


def seconds(ns: int) -> str:
    """Nanoseconds as seconds for reading, exactly: 1.5 s."""
    whole, rest = divmod(ns, NS_PER_S)
    return f"{whole}.{rest:09}".rstrip("0").rstrip(".") + " s"


def log2_ceil(n: int) -> int:
    """ceil(log2 n) for n >= 1: the rounds of a recursive-halving collective."""
    return (n - 1).bit_length()


def transfer_ns(size_bytes: int, bytes_per_s: int) -> int:
    """ceil(bytes / bandwidth), ns."""
    return ceil_div(size_bytes * NS_PER_S, bytes_per_s)


Norm = Literal["half", "sum", "square", "fourth", "max"]
"""How two demands on one operation add up: the p-norm of 1/2, 1, 2, 4 and infinity. The larger p, the better they overlap."""


def combine(norm: Norm, a: int, b: int) -> int:
    """(a**p + b**p) ** (1 / p), rounded up; grows with each. `half` is a + b + 2 * sqrt(a * b)."""
    match norm:
        case "half":
            return a + b + _root_up(4 * a * b)
        case "sum":
            return a + b
        case "square":
            return _root_up(a * a + b * b)
        case "fourth":
            return _root_up(_root_up(a**4 + b**4))
        case "max":
            return max(a, b)


def _root_up(n: int) -> int:
    """ceil(sqrt(n)), n >= 0."""
    return isqrt(n - 1) + 1 if n else 0


def dtype_bytes(elements: int, bits: int) -> int:
    """Bytes that hold `elements` numbers of `bits` bits each, rounded up once."""
    return ceil_div(elements * bits, 8)


def parse_quantity(value: object, dimension: str) -> object:
    """`"50 GB/s"` -> 50_000_000_000; integers pass through unchanged.

    Raises ValueError naming the units that fit when the text is not a whole number of base units.
    """
    if not isinstance(value, str):
        if isinstance(value, float):
            raise ValueError(f'write an integer of {dimension} or a string such as "{_example(dimension)}"')
        return value
    units = _UNITS[dimension]
    match = _QUANTITY.fullmatch(value.replace("\u03bc", "\u00b5"))
    if match is None or match[2] not in units:
        raise ValueError(f'"{value[:40]}" is not a quantity in {dimension}; write a number and one of {", ".join(units)}')
    amount = Fraction(match[1].replace("_", "")) * units[match[2]]
    if amount.denominator != 1:
        raise ValueError(f'"{value[:40]}" is not a whole number of {dimension}; write one that is')
    return amount.numerator


def _example(dimension: str) -> str:
    return f"12.5 {list(_UNITS[dimension])[-1]}"


def _quantity(dimension: str) -> BeforeValidator:
    text = Annotated[str, Field(description=f"a number and one of {', '.join(_UNITS[dimension])}")]
    whole = Annotated[int, Field(description=dimension)]
    return BeforeValidator(lambda v: parse_quantity(v, dimension), json_schema_input_type=whole | text)


Bytes = Annotated[int, Field(ge=0, le=MAX_INT), _quantity("bytes")]
BytesPerSecond = Annotated[int, Field(gt=0, le=MAX_INT), _quantity("bytes/s")]
FlopPerSecond = Annotated[int, Field(gt=0, le=MAX_INT), _quantity("FLOP/s")]
Nanoseconds = Annotated[int, Field(ge=0, le=MAX_INT), _quantity("ns")]
Ppm = Annotated[int, Field(ge=0, le=PPM), _quantity("ppm")]
PositivePpm = Annotated[int, Field(gt=0, le=PPM), _quantity("ppm")]
Multiple = Annotated[int, Field(gt=0, le=10 * PPM), _quantity("ppm")]
"""A factor that may exceed 1, in parts per million."""
MicroUsdPerHour = Annotated[int, Field(ge=0, le=MAX_INT), _quantity("micro-USD/h")]
TokensPerSecond = Annotated[int, Field(gt=0, le=MAX_INT), _quantity("tokens/s")]
